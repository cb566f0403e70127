//! `Catch-v0`: a ball falls, a paddle in the bottom row catches it (bsuite's Catch).

use super::{
    ActionSpec, BoxError, Element as _, End, EnvSpec, Environment, ObservationSpec, Transition,
};
use crate::rng::Rng;

/// The name it is registered under.
pub const ID: &str = "Catch-v0";

const ROWS: usize = 10;
const COLUMNS: usize = 5;

/// What a pixel with something in it shows.
const LIT: u8 = 255;

/// One game. The ball starts in a random column of the top row and falls one row a step; action 0
/// moves the paddle left, 1 keeps it, 2 moves it right. When the ball reaches the bottom row, after 9
/// steps, the reward is 1 if the paddle is there and -1 if not, and the episode terminates.
///
/// The observation is the board, `[10, 5]` u8: 255 where the ball and the paddle are, else 0.
#[derive(Debug, Default)]
pub struct Catch {
    ball_row: usize,
    ball_column: usize,
    paddle_column: usize,
}

impl Catch {
    fn draw(&self, board: &mut [u8]) {
        board.fill(0);
        board[self.ball_row * COLUMNS + self.ball_column] = LIT;
        board[(ROWS - 1) * COLUMNS + self.paddle_column] = LIT;
    }
}

impl Environment for Catch {
    type Element = u8;
    type Action = usize;

    fn spec(&self) -> EnvSpec {
        EnvSpec::new(
            ID,
            ObservationSpec::new(u8::DTYPE, &[ROWS, COLUMNS]),
            ActionSpec::Discrete { n: 3 },
        )
    }

    fn reset(&mut self, rng: &mut Rng, observation: &mut [u8]) -> Result<(), BoxError> {
        *self = Self { ball_row: 0, ball_column: rng.below(COLUMNS), paddle_column: COLUMNS / 2 };
        self.draw(observation);
        Ok(())
    }

    fn step(
        &mut self,
        action: usize,
        _rng: &mut Rng,
        observation: &mut [u8],
    ) -> Result<Transition, BoxError> {
        self.paddle_column = (self.paddle_column + action).saturating_sub(1).min(COLUMNS - 1);
        self.ball_row += 1;
        self.draw(observation);
        if self.ball_row < ROWS - 1 {
            return Ok(Transition::default());
        }
        let caught = self.ball_column == self.paddle_column;
        Ok(Transition { reward: if caught { 1.0 } else { -1.0 }, end: End::Terminated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lit(board: &[u8]) -> Vec<usize> {
        (0..board.len()).filter(|&i| board[i] == LIT).collect()
    }

    /// Plays one episode with `choose(ball column, paddle column)`.
    fn play(seed: u64, choose: impl Fn(usize, usize) -> usize) -> (usize, Transition) {
        let (mut game, mut rng) = (Catch::default(), Rng::new(seed, 0));
        let mut board = [7; ROWS * COLUMNS];
        game.reset(&mut rng, &mut board).expect("does not fail");
        for step in 1.. {
            let action = choose(game.ball_column, game.paddle_column);
            let transition = game.step(action, &mut rng, &mut board).expect("does not fail");
            if transition.end != End::Running {
                return (step, transition);
            }
            assert_eq!(transition.reward, 0.0);
        }
        unreachable!()
    }

    #[test]
    fn following_the_ball_wins_and_fleeing_it_loses() {
        for seed in 0..20 {
            let (steps, end) = play(seed, |ball, paddle| {
                1 + usize::from(ball > paddle) - usize::from(ball < paddle)
            });
            assert_eq!((steps, end.reward, end.end), (9, 1.0, End::Terminated));
            let (steps, end) = play(seed, |ball, _| if ball < 2 { 2 } else { 0 });
            assert_eq!((steps, end.reward, end.end), (9, -1.0, End::Terminated));
        }
    }

    #[test]
    fn the_board_shows_ball_and_paddle() {
        let (mut game, mut rng) = (Catch::default(), Rng::new(5, 0));
        let mut board = [7; ROWS * COLUMNS];
        let mut columns = [false; COLUMNS];
        for _ in 0..100 {
            game.reset(&mut rng, &mut board).expect("does not fail");
            let seen = lit(&board);
            assert!(seen[0] < COLUMNS && seen[1] == 47, "{seen:?}");
            assert!(board.iter().all(|&pixel| pixel == 0 || pixel == LIT));
            columns[seen[0]] = true;
            game.step(0, &mut rng, &mut board).expect("does not fail");
            assert_eq!(lit(&board), [seen[0] + COLUMNS, 46]);
        }
        assert_eq!(columns, [true; COLUMNS], "every column is drawn");
    }

    #[test]
    fn the_paddle_stops_at_the_walls() {
        let (mut game, mut rng) = (Catch::default(), Rng::new(5, 0));
        let mut board = [0; ROWS * COLUMNS];
        for (action, wall) in [(0, 45), (2, 49)] {
            game.reset(&mut rng, &mut board).expect("does not fail");
            for _ in 0..6 {
                game.step(action, &mut rng, &mut board).expect("does not fail");
            }
            assert_eq!(lit(&board)[1], wall);
        }
    }
}
