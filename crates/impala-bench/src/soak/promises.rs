//! The promises that `impala-soak` checks, and how each is judged from the measurements.

use super::args::SoakArgs;
use super::campaign::{Promise, Results};
use super::report::{Percentiles, PoolReport};

/// SIGKILL of an actor to its slot being free, in 99 of 100 cases.
const FREE_WITHIN_MS: f64 = 10.0;
/// SIGKILL of a supervisor to the last process being gone.
const GONE_WITHIN_MS: f64 = 1_000.0;
/// What the allocator may keep, over all restarts.
const GROWTH_KIB: u64 = 1_024;

/// All promises, in the order in which they are printed.
pub(super) fn promises(results: &Results, args: &SoakArgs) -> Vec<Promise> {
    let Results { chaos, gradients, central, stops, restarts, supervisors } = results;
    let pools = [chaos, gradients, central, stops, restarts];
    let sum = |figure: fn(&PoolReport) -> u64| pools.into_iter().map(figure).sum::<u64>();
    let of = |promise, kept, measured| Promise { promise, measured, kept };
    let none = |promise, count: u64, what: &str, of_what: u64| {
        of(promise, count == 0, format!("{count} of {of_what} {what}"))
    };
    let times = |p: &Percentiles| {
        format!("p50 {:.2}, p99 {:.2}, max {:.2} ms of {}", p.p50_ms, p.p99_ms, p.max_ms, p.count)
    };
    let faults = sum(PoolReport::faults);
    let ended = pools.iter().filter(|pool| pool.ended == "finished").count();
    let recovered = sum(|pool| pool.recovered + pool.overtaken + pool.open_at_end);
    let open = sum(|pool| pool.open_at_end);
    let unrolls = sum(|pool| pool.unrolls);
    // A role is down or new at the end; each of them may have one fault open, and an actor two.
    let few = 3 * (1 + 2 * u64::from(args.actors));
    let (early, late) = (restarts.resident_kib[0], restarts.resident_kib[1]);
    vec![
        of(
            "every pool ends in order",
            ended == pools.len(),
            format!("{ended} of {} pools", pools.len()),
        ),
        of(
            "the pool recovers from every fault",
            recovered == faults && open <= few && faults > 0,
            format!(
                "{faults} faults: {} actors, {} learners and {} policy processes killed, {} and {} of the first and last stopped; {open} open at the end",
                sum(|pool| pool.actors_killed),
                sum(|pool| pool.learners_killed),
                sum(|pool| pool.policies_killed),
                sum(|pool| pool.actors_stopped),
                sum(|pool| pool.policies_stopped),
            ),
        ),
        none("nothing hangs", sum(|pool| pool.hangs), "faults", faults),
        none(
            "every byte that the learner sees is right",
            sum(|pool| pool.bytes_wrong),
            "bytes",
            sum(|pool| pool.bytes_checked),
        ),
        none(
            "no unroll is lost but those in flight",
            sum(|pool| pool.sequences_lost),
            "unrolls",
            unrolls,
        ),
        none(
            "no unroll comes twice, unless its reader died with it",
            sum(|pool| pool.sequences_doubled),
            "unrolls",
            unrolls,
        ),
        none(
            "no unroll comes that nobody wrote",
            sum(|pool| pool.sequences_invented),
            "unrolls",
            unrolls,
        ),
        of(
            "a killed actor loses at most the unroll in its hands",
            sum(|pool| pool.in_flight_lost) <= sum(|pool| pool.actors_killed),
            format!(
                "{} unrolls of {} killed actors",
                sum(|pool| pool.in_flight_lost),
                sum(|pool| pool.actors_killed)
            ),
        ),
        of(
            "generations = consumed + reclaimed + dropped after each fault",
            sum(|pool| pool.identity_broken) == 0 && sum(|pool| pool.identity_checks) > 0,
            format!(
                "{} of {} evaluations broken, {} had to wait",
                sum(|pool| pool.identity_broken),
                sum(|pool| pool.identity_checks),
                sum(|pool| pool.identity_waited)
            ),
        ),
        of(
            "the ring's counters agree with the sequence numbers",
            pools.iter().all(|pool| pool.counters_agree),
            format!("{unrolls} unrolls of {} incarnations", sum(|pool| pool.incarnations)),
        ),
        none(
            "no actor reads torn weights",
            sum(|pool| pool.weights_torn),
            "versions read",
            sum(|pool| pool.weights_read),
        ),
        of(
            "every answer is to its own question (central inference)",
            central.answers_wrong == 0 && central.answers > 0 && central.policies_killed > 0,
            format!(
                "{} of {} rows wrong, {} policy processes killed",
                central.answers_wrong, central.answers, central.policies_killed
            ),
        ),
        none(
            "every finished checkpoint is whole",
            sum(|pool| pool.checkpoints_bad),
            "checkpoints read back",
            sum(|pool| pool.checkpoints_read),
        ),
        of(
            "a killed actor's slot is free within 10 ms (p99)",
            chaos.kill_to_free.p99_ms < FREE_WITHIN_MS
                && restarts.kill_to_free.p99_ms < FREE_WITHIN_MS,
            format!("{}; in a row: {}", times(&chaos.kill_to_free), times(&restarts.kill_to_free)),
        ),
        of(
            "a killed actor's successor commits (no bound promised)",
            chaos.kill_to_commit.count > 0 || chaos.actors_killed == 0,
            format!(
                "{}; in a row: {}",
                times(&chaos.kill_to_commit),
                times(&restarts.kill_to_commit)
            ),
        ),
        of(
            "an actor that was only stopped is not replaced and loses nothing",
            stops.actor_restarts == 0 && stops.in_flight_lost == 0 && stops.actors_stopped > 0,
            format!(
                "{} stops, {} restarts, {} unrolls lost",
                stops.actors_stopped, stops.actor_restarts, stops.in_flight_lost
            ),
        ),
        of(
            "restarts leave no descriptor open",
            restarts.descriptors[1] <= restarts.descriptors[0]
                && restarts.actor_restarts >= args.restarts,
            format!(
                "{} -> {} after {} restarts",
                restarts.descriptors[0], restarts.descriptors[1], restarts.actor_restarts
            ),
        ),
        of(
            "restarts do not make the supervisor grow (at most 1 MiB)",
            late.saturating_sub(early) <= GROWTH_KIB,
            format!("{early} -> {late} KiB"),
        ),
        none(
            "no dead child stays unreaped for a second",
            sum(|pool| pool.zombies),
            "restarts",
            sum(|pool| pool.actor_restarts + pool.learner_restarts + pool.policy_restarts),
        ),
        none("no process outlives its pool", sum(|pool| pool.left_behind), "pools", 5),
        of(
            "when a supervisor is killed, its last process is gone within 1 s",
            supervisors.until_gone.max_ms < GONE_WITHIN_MS && supervisors.left_behind == 0,
            times(&supervisors.until_gone),
        ),
    ]
}
