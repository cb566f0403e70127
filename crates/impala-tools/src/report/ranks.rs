//! The table of ranks in a run with several learners: how fast each is, and for how long it waited.

use impala_metrics::human::{duration, percent, si};
use impala_metrics::{RANKS_FILE, RankRecord};
use maud::{Markup, html};

use super::run_data::RunData;

/// A table with a row for each rank; nothing in a run of one.
pub(super) fn table(run: &RunData, named: bool) -> Markup {
    let text = std::fs::read_to_string(run.path.join(RANKS_FILE)).unwrap_or_default();
    rows(&serde_json::from_str::<Vec<RankRecord>>(&text).unwrap_or_default(), &run.name, named)
}

fn rows(ranks: &[RankRecord], run: &str, named: bool) -> Markup {
    html! {
        @if ranks.len() > 1 {
            h2 { "Ranks" @if named { " of " (run) } }
            div.card.scroll {
                table {
                    tr {
                        th { "rank" } th { "frames" } th { "frames/s" } th { "waited for other ranks" }
                        th { "waited for its actors" } th {}
                    }
                    @for rank in ranks {
                        tr {
                            th { (rank.rank) }
                            td { (si(rank.frames as f64)) }
                            td { (si(rank.frames_per_s)) }
                            td { (waited(rank.exchange_wait_s, rank)) }
                            td { (waited(rank.block_wait_s, rank)) }
                            td { @if rank.straggler { "the others wait for it" } }
                        }
                    }
                }
            }
        }
    }
}

/// Seconds, and what part of the rank's time they are.
fn waited(seconds: f64, rank: &RankRecord) -> String {
    let all = rank.frames as f64 / rank.frames_per_s.max(1e-9);
    format!("{} ({})", duration(seconds), percent(seconds / all.max(1e-9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_has_a_row_and_the_straggler_is_named() {
        let rank = |rank, exchange_wait_s| RankRecord {
            rank,
            frames: 1_000,
            frames_per_s: 100.0,
            exchange_wait_s,
            ..RankRecord::default()
        };
        let mut ranks = [rank(0, 5.0), rank(1, 0.1)];
        RankRecord::mark_straggler(&mut ranks);
        let page = rows(&ranks, "R", false).into_string();
        assert_eq!(page.matches("<tr>").count(), 3, "{page}");
        assert!(page.contains("50"), "half of the time: {page}");
        let (first, second) = page.split_once("<th>1</th>").expect("rank 1");
        assert!(!first.contains("the others") && second.contains("the others"), "{page}");
        assert!(rows(&ranks[..1], "R", false).into_string().is_empty());
    }
}
