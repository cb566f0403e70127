//! Reads the limits of the cgroups around this process (versions 1 and 2), at every level of the hierarchy.
//!
//! Works on the text of `/proc/self/cgroup` and `/proc/self/mountinfo` and a function that reads files,
//! so that tests bring their own. Whatever looks odd is left out: a limit that is not seen is better
//! than a run refused for a line that was not understood.

use std::path::{Path, PathBuf};

use super::machine::Room;

/// Version 1 says "no limit" with a number near this.
const NO_LIMIT: u64 = 1 << 60;

type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// What is left in each memory cgroup. Cached files count as free: the kernel drops them first.
pub(super) fn memory(cgroups: &str, mounts: &str, read: Read<'_>) -> Vec<Room> {
    let number = |path: PathBuf| read(&path)?.trim().parse::<u64>().ok();
    let room = |folder: &Path, limit: Option<u64>, used: Option<u64>, cache: [&str; 2]| {
        let limit = limit.filter(|&limit| limit < NO_LIMIT)?;
        let stat = read(&folder.join("memory.stat")).unwrap_or_default();
        let cached: u64 = cache.iter().filter_map(|name| stat_field(&stat, name)).sum();
        let available = limit.saturating_sub(used?.saturating_sub(cached));
        Some(Room { limit: format!("memory cgroup {}", folder.display()), available })
    };
    let one = folders(cgroups, mounts, Some("memory")).into_iter().filter_map(|folder| {
        let limit = number(folder.join("memory.limit_in_bytes"));
        let used = number(folder.join("memory.usage_in_bytes"));
        room(&folder, limit, used, ["total_inactive_file", "total_active_file"])
    });
    let two = folders(cgroups, mounts, None).into_iter().filter_map(|folder| {
        // Above `high` the kernel slows processes down to a crawl, which is no better than `max`.
        let limits = ["memory.max", "memory.high"].map(|name| number(folder.join(name)));
        let used = number(folder.join("memory.current"));
        room(&folder, limits.into_iter().flatten().min(), used, ["inactive_file", "active_file"])
    });
    one.chain(two).collect()
}

/// How many processes and threads may still start in each pids cgroup.
pub(super) fn tasks(cgroups: &str, mounts: &str, read: Read<'_>) -> Vec<Room> {
    let number = |path: PathBuf| read(&path)?.trim().parse::<u64>().ok();
    let one = folders(cgroups, mounts, Some("pids"));
    let all = one.into_iter().chain(folders(cgroups, mounts, None));
    all.filter_map(|folder| {
        // "max" is no number, and no limit.
        let limit = number(folder.join("pids.max"))?;
        let available = limit.saturating_sub(number(folder.join("pids.current"))?);
        Some(Room { limit: format!("pids cgroup {}", folder.display()), available })
    })
    .collect()
}

/// The folders of this process's cgroup and of those around it, innermost first: of `controller` in
/// version 1, or of version 2 for `None`.
fn folders(cgroups: &str, mounts: &str, controller: Option<&str>) -> Vec<PathBuf> {
    let ours = cgroups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let found = match controller {
            Some(name) => controllers.split(',').any(|other| other == name),
            None => id == "0" && controllers.is_empty(),
        };
        found.then(|| PathBuf::from(path))
    });
    let Some(ours) = ours else { return Vec::new() };
    let mounted: Vec<_> = mounts.lines().filter_map(|line| mount(line, controller)).collect();
    // A container sees its own part of the tree mounted, and may be told a path from outside of it;
    // then the mount point itself is what binds it.
    let inner = mounted.iter().find_map(|(root, point)| {
        let below = ours.strip_prefix(root).ok()?;
        // By components: joining an empty path would leave a slash at the end.
        Some((point.join(below).components().collect(), point))
    });
    let Some((start, top)) =
        inner.or_else(|| mounted.first().map(|(_, point)| (point.clone(), point)))
    else {
        return Vec::new();
    };
    start.ancestors().take_while(|folder| folder.starts_with(top)).map(Path::to_path_buf).collect()
}

/// Root (within the cgroup tree) and mount point of a line of mountinfo, if it mounts what is wanted.
fn mount(line: &str, controller: Option<&str>) -> Option<(PathBuf, PathBuf)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, point) = (front.next()?, front.next()?);
    let mut back = back.split(' ');
    let kind = back.next()?;
    let options = back.nth(1).unwrap_or_default();
    let wanted = match controller {
        Some(name) => kind == "cgroup" && options.split(',').any(|other| other == name),
        None => kind == "cgroup2",
    };
    wanted.then(|| (unescape(root), unescape(point)))
}

/// mountinfo writes blanks and the like as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut plain = text.to_owned();
    for (escape, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(escape, character);
    }
    PathBuf::from(plain)
}

fn stat_field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn reader(files: &[(&str, &str)]) -> impl Fn(&Path) -> Option<String> {
        let files: HashMap<_, _> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        move |path| files.get(path).cloned()
    }

    fn rooms(rooms: &[Room]) -> Vec<(&str, u64)> {
        rooms.iter().map(|room| (room.limit.as_str(), room.available)).collect()
    }

    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids\n";
    const V2: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_1_is_walked_up() {
        let read = reader(&[
            ("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "5\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "700\n"),
            (
                "/sys/fs/cgroup/memory/a/memory.stat",
                "cache 500\ntotal_inactive_file 100\ntotal_active_file 50\n",
            ),
            ("/sys/fs/cgroup/pids/pids.max", "max\n"),
            ("/sys/fs/cgroup/pids/c/pids.max", "20\n"),
            ("/sys/fs/cgroup/pids/c/pids.current", "30\n"),
        ]);
        let cgroups = "8:pids:/c\n4:cpu,memory:/a/b\n0::/\n";
        assert_eq!(
            rooms(&memory(cgroups, V1, &read)),
            [("memory cgroup /sys/fs/cgroup/memory/a", 450)]
        );
        assert_eq!(rooms(&tasks(cgroups, V1, &read)), [("pids cgroup /sys/fs/cgroup/pids/c", 0)]);
    }

    #[test]
    fn version_2_is_walked_up() {
        let read = reader(&[
            ("/sys/fs/cgroup/user.slice/run/memory.max", "max\n"),
            ("/sys/fs/cgroup/user.slice/run/memory.high", "800\n"),
            ("/sys/fs/cgroup/user.slice/run/memory.current", "300\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "900\n"),
            ("/sys/fs/cgroup/user.slice/memory.current", "400\n"),
            ("/sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 30\nactive_file 20\n"),
            ("/sys/fs/cgroup/user.slice/pids.max", "100\n"),
            ("/sys/fs/cgroup/user.slice/pids.current", "40\n"),
        ]);
        let cgroups = "0::/user.slice/run\n";
        let inner = ("memory cgroup /sys/fs/cgroup/user.slice/run", 500);
        let outer = ("memory cgroup /sys/fs/cgroup/user.slice", 550);
        assert_eq!(rooms(&memory(cgroups, V2, &read)), [inner, outer]);
        assert_eq!(
            rooms(&tasks(cgroups, V2, &read)),
            [("pids cgroup /sys/fs/cgroup/user.slice", 60)]
        );
    }

    #[test]
    fn containers_see_part_of_the_tree() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw\n";
        let at_root = reader(&[
            ("/sys/fs/my cgroup/memory.max", "100"),
            ("/sys/fs/my cgroup/memory.current", "10"),
        ]);
        for ours in ["0::/docker/abc", "0::/docker/abc/inner", "0::/elsewhere", "0::/../../x"] {
            let found = memory(ours, mounts, &at_root);
            assert_eq!(rooms(&found), [("memory cgroup /sys/fs/my cgroup", 90)], "{ours}");
        }
    }

    #[test]
    fn nonsense_sets_no_limit() {
        let read = reader(&[("/sys/fs/cgroup/memory.max", "a lot")]);
        for (cgroups, mounts) in [
            ("", ""),
            ("0::/", ""),
            ("", V2),
            ("0::/", V2),
            (":::", "- - - -"),
            ("4:memory", "35 31 - cgroup"),
            ("\u{0}", "1 2 3 4 - cgroup2"),
        ] {
            assert_eq!(memory(cgroups, mounts, &read), [], "{cgroups:?} {mounts:?}");
            assert_eq!(tasks(cgroups, mounts, &read), [], "{cgroups:?} {mounts:?}");
        }
    }
}
