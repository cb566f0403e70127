//! Reference returns of known environments (random play, and solved or human play), used to bring the returns of
//! different tasks to one scale.

/// What is known of an environment: the return of a policy that acts at random, and one to be compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Mean return of actions drawn evenly.
    pub random: f64,
    /// That of a person for Atari games, else that which counts as solved.
    pub solved: f64,
}

impl Reference {
    /// That of an environment by its name, whatever source stands before it (`gym:`, `envpool:`) and whatever version behind it.
    ///
    /// Atari games: random play and human testers of Mnih et al. 2015 and Wang et al. 2016, table 2. Others: `reward_threshold`
    /// of Gymnasium, where there is one, and random play as measured here over 100 episodes.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        let name = id.rsplit(':').next().unwrap_or(id);
        let (table, name) = match name.strip_prefix("ALE/") {
            Some(game) => (ATARI, game),
            None => (OTHERS, name),
        };
        let name = name.rsplit_once("-v").map_or(name, |(stem, _)| stem);
        let row = table.iter().find(|(known, ..)| *known == name)?;
        Some(Self { random: row.1, solved: row.2 })
    }

    /// 0 for random play, 1 for the reference: (return - random) / (solved - random).
    #[must_use]
    pub fn score(&self, mean_return: f64) -> f64 {
        (mean_return - self.random) / (self.solved - self.random)
    }
}

/// Mean of the scores of several tasks, and the same with no score counting more than 1; `None` if one is not known.
#[must_use]
pub fn mean_scores(scores: impl IntoIterator<Item = Option<f64>>) -> Option<[f64; 2]> {
    let scores = scores.into_iter().collect::<Option<Vec<f64>>>()?;
    let mean = |most: f64| {
        scores.iter().map(|score| score.min(most)).sum::<f64>() / scores.len().max(1) as f64
    };
    Some([mean(f64::INFINITY), mean(1.0)])
}

type Row = (&'static str, f64, f64);

const OTHERS: &[Row] = &[
    ("Acrobot", -499.0, -100.0),
    ("BipedalWalker", -100.0, 300.0),
    ("CartPole", 22.0, 475.0),
    ("Catch", -0.6, 1.0),
    ("HalfCheetah", -280.0, 4800.0),
    ("Hopper", 18.0, 3800.0),
    ("LunarLander", -180.0, 200.0),
    ("MountainCar", -200.0, -110.0),
    ("MountainCarContinuous", -33.0, 90.0),
    ("Pendulum", -1230.0, -150.0),
];

const ATARI: &[Row] = &[
    ("Alien", 227.8, 7127.7),
    ("Amidar", 5.8, 1719.5),
    ("Assault", 222.4, 742.0),
    ("Asterix", 210.0, 8503.3),
    ("Asteroids", 719.1, 47388.7),
    ("Atlantis", 12850.0, 29028.1),
    ("BankHeist", 14.2, 753.1),
    ("BattleZone", 2360.0, 37187.5),
    ("BeamRider", 363.9, 16926.5),
    ("Berzerk", 123.7, 2630.4),
    ("Bowling", 23.1, 160.7),
    ("Boxing", 0.1, 12.1),
    ("Breakout", 1.7, 30.5),
    ("Centipede", 2090.9, 12017.0),
    ("ChopperCommand", 811.0, 7387.8),
    ("CrazyClimber", 10780.5, 35829.4),
    ("Defender", 2874.5, 18688.9),
    ("DemonAttack", 152.1, 1971.0),
    ("DoubleDunk", -18.6, -16.4),
    ("Enduro", 0.0, 860.5),
    ("FishingDerby", -91.7, -38.7),
    ("Freeway", 0.0, 29.6),
    ("Frostbite", 65.2, 4334.7),
    ("Gopher", 257.6, 2412.5),
    ("Gravitar", 173.0, 3351.4),
    ("Hero", 1027.0, 30826.4),
    ("IceHockey", -11.2, 0.9),
    ("Jamesbond", 29.0, 302.8),
    ("Kangaroo", 52.0, 3035.0),
    ("Krull", 1598.0, 2665.5),
    ("KungFuMaster", 258.5, 22736.3),
    ("MontezumaRevenge", 0.0, 4753.3),
    ("MsPacman", 307.3, 6951.6),
    ("NameThisGame", 2292.3, 8049.0),
    ("Phoenix", 761.4, 7242.6),
    ("Pitfall", -229.4, 6463.7),
    ("Pong", -20.7, 14.6),
    ("PrivateEye", 24.9, 69571.3),
    ("Qbert", 163.9, 13455.0),
    ("Riverraid", 1338.5, 17118.0),
    ("RoadRunner", 11.5, 7845.0),
    ("Robotank", 2.2, 11.9),
    ("Seaquest", 68.4, 42054.7),
    ("Skiing", -17098.1, -4336.9),
    ("Solaris", 1236.3, 12326.7),
    ("SpaceInvaders", 148.0, 1668.7),
    ("StarGunner", 664.0, 10250.0),
    ("Surround", -10.0, 6.5),
    ("Tennis", -23.8, -8.3),
    ("TimePilot", 3568.0, 5229.2),
    ("Tutankham", 11.4, 167.6),
    ("UpNDown", 533.4, 11693.2),
    ("Venture", 0.0, 1187.5),
    ("VideoPinball", 16256.9, 17667.9),
    ("WizardOfWor", 563.5, 4756.5),
    ("YarsRevenge", 3092.9, 54576.9),
    ("Zaxxon", 32.5, 9173.3),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_versions_make_no_difference() {
        let cart = Reference::of("CartPole-v1").expect("known");
        assert_eq!(Reference::of("gym:CartPole-v0"), Some(cart));
        assert_eq!((cart.score(22.0), cart.score(475.0)), (0.0, 1.0));
        let pong = Reference::of("gym:ALE/Pong-v5").expect("known");
        assert_eq!(Reference::of("envpool:ALE/Pong-v5"), Some(pong));
        assert_eq!((Reference::of("Pong-v5"), Reference::of("Mine-v0")), (None, None));
    }

    #[test]
    fn tables_are_sorted_and_rise_from_random_play() {
        for table in [OTHERS, ATARI] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
            assert!(table.iter().all(|(_, random, solved)| random < solved));
        }
        assert_eq!(ATARI.len(), 57);
    }
}
