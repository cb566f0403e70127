//! Finds out which rank of an MPI job this process is, from the environment variables of the launcher.
//!
//! A launcher counts only if all of its variables are there: a shell within an allocation has some of them.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, getppid};

/// One process of a job, and where it stands among those of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank {
    /// From 0.
    pub(crate) rank: usize,
    /// Ranks of the job.
    pub(crate) size: usize,
    /// From 0 among those of this machine.
    pub(crate) local_rank: usize,
    /// Ranks of this machine.
    pub(crate) local_size: usize,
}

/// Rank, size, rank on the machine, ranks on the machine; what else must be there.
struct Variables {
    numbers: [&'static str; 4],
    others: &'static [&'static str],
}

const LAUNCHERS: [Variables; 3] = [
    // Open MPI's mpirun.
    Variables {
        numbers: [
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
        ],
        others: &[],
    },
    // Hydra, the mpiexec of MPICH and Intel MPI.
    Variables {
        numbers: ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
        others: &[],
    },
    // srun --mpi=pmix.
    Variables {
        numbers: ["PMIX_RANK", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"],
        others: &["PMIX_NAMESPACE", "SLURM_PROCID"],
    },
];

/// What the environment of this process says.
#[must_use]
pub(super) fn rank() -> Option<Rank> {
    from(|name| std::env::var(name).ok())
}

fn from(variable: impl Fn(&str) -> Option<String>) -> Option<Rank> {
    LAUNCHERS.iter().find_map(|Variables { numbers, others }| {
        others.iter().try_for_each(|name| variable(name).map(|_| ()))?;
        // SLURM writes `2(x3),1`; the first number is that of the most machines.
        let number = |name: &&str| -> Option<usize> {
            let text = variable(name)?;
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let [rank, size, local_rank, local_size] = numbers.each_ref().map(number);
        let (rank, size, local_rank) = (rank?, size?, local_rank?);
        let local_size = local_size?.max(local_rank + 1);
        (rank < size).then_some(Rank { rank, size, local_rank, local_size })
    })
}

/// The cores that a rank, or a run alone, binds its processes to.
#[must_use]
pub(super) fn cores(rank: Option<Rank>) -> Vec<usize> {
    let own = allowed(Pid::from_raw(0));
    match rank {
        // A launcher that has bound its ranks has shared the cores out already.
        Some(rank) if own == allowed(getppid()) => share(&own, rank),
        _ => own,
    }
}

fn allowed(process: Pid) -> Vec<usize> {
    let set = sched_getaffinity(process).unwrap_or_default();
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

/// The part of the machine's cores that is one rank's.
fn share(cores: &[usize], rank: Rank) -> Vec<usize> {
    let bound = |place: usize| place * cores.len() / rank.local_size;
    let own = &cores[bound(rank.local_rank)..bound(rank.local_rank + 1)];
    if own.is_empty() { cores.to_vec() } else { own.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_a_machine_share_its_cores_out() {
        let of = |local_rank, local_size| Rank { rank: 7, size: 9, local_rank, local_size };
        let cores = [1, 2, 5, 6, 9];
        assert_eq!(share(&cores, of(0, 2)), [1, 2]);
        assert_eq!(share(&cores, of(1, 2)), [5, 6, 9]);
        assert_eq!(share(&cores, of(0, 1)), cores);
        // More ranks than cores: some have none of their own.
        assert_eq!(share(&cores[..1], of(0, 2)), [1]);
        assert_eq!(share(&cores[..1], of(1, 2)), [1]);
    }

    fn of(pairs: &[(&str, &str)]) -> Option<Rank> {
        from(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_launcher_is_known() {
        let open_mpi = [
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        let expected = Some(Rank { rank: 3, size: 4, local_rank: 1, local_size: 2 });
        assert_eq!(of(&open_mpi), expected);
        let hydra = [
            ("PMI_RANK", "3"),
            ("PMI_SIZE", "4"),
            ("MPI_LOCALRANKID", "1"),
            ("MPI_LOCALNRANKS", "2"),
        ];
        assert_eq!(of(&hydra), expected);
        let slurm = [
            ("PMIX_RANK", "3"),
            ("PMIX_NAMESPACE", "slurm.pmix.7.0"),
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "2(x2)"),
        ];
        assert_eq!(of(&slurm), expected);
        for all in [&open_mpi[..], &hydra, &slurm] {
            for missing in 0..all.len() {
                let mut some = all.to_vec();
                some.remove(missing);
                assert_eq!(of(&some), None, "{some:?}");
            }
        }
    }

    #[test]
    fn nonsense_is_no_rank() {
        assert_eq!(of(&[]), None);
        let with = |rank, size| {
            of(&[
                ("PMI_RANK", rank),
                ("PMI_SIZE", size),
                ("MPI_LOCALRANKID", "0"),
                ("MPI_LOCALNRANKS", "1"),
            ])
        };
        assert_eq!(with("2", "2"), None);
        assert_eq!(with("", "2"), None);
        assert_eq!(with("-1", "2"), None);
    }
}
