//! Two equal versions in traffic as it is: users that leave, bots, retries, health checks, streams, 404s and redirects.

use crate::cases::{Cases, percent, share};
use crate::evasions::RATES;
use crate::table::Row;
use crate::traffic::{Behaviour, Chance, Failing, Shape, log_uniform};
use crate::world::{Crowd, Tells, World};
use rand::RngExt;

/// Rolled back in vain, of all.
const MOST_IN_VAIN: f64 = 0.01;
/// Held for longer than the hold and the samples that the plan names, of all.
const MOST_HELD_UP: f64 = 0.02;

/// A name, and what is special about its world.
type Service = (&'static str, fn(&mut World, &mut Chance));

impl Cases {
    pub(crate) fn alike(&self) -> Vec<Row> {
        SERVICES.iter().zip(200..).flat_map(|(service, row)| self.service(row, service)).collect()
    }

    fn service(&self, row: u64, (case, change): &Service) -> [Row; 2] {
        let ends = self.ends_of(row, self.rollouts, |chance| {
            let rate = log_uniform(chance, RATES.0, RATES.1);
            let stable = Behaviour::any(chance);
            let mut world = World::plain(rate, stable, stable);
            world.crowd = crowd(chance);
            change(&mut world, chance);
            world
        });
        let of_all = |some| share(some, ends.all());
        let (rolled_back, held_up) = (of_all(ends.rolled_back()), of_all(ends.held_up()));
        let (paused, aborted) = (ends.paused(), ends.aborted());
        [
            Row {
                case: format!("equal versions, {case}: rolled back"),
                measured: format!("{} ({paused} paused, {aborted} aborted)", percent(rolled_back)),
                required: format!("<= {}", percent(MOST_IN_VAIN)),
                holds: Some(rolled_back <= MOST_IN_VAIN),
            },
            Row {
                case: format!("equal versions, {case}: held up"),
                measured: percent(held_up),
                required: format!("<= {}", percent(MOST_HELD_UP)),
                holds: Some(held_up <= MOST_HELD_UP),
            },
        ]
    }
}

/// Some of everything.
fn crowd(chance: &mut Chance) -> Crowd {
    Crowd {
        health: chance.random_range(0.0..0.5),
        bots: chance.random_range(0.0..2.0),
        leaving: (chance.random_range(0.0..0.2), log_uniform(chance, 0.02, 2.0)),
        retries: chance.random_range(0..4),
        streams: chance.random_range(0.0..0.3),
        not_found: chance.random_range(0.0..0.05),
        redirects: chance.random_range(0.0..0.05),
        tells: Tells::Nothing,
    }
}

const SERVICES: [Service; 5] = [
    ("all sorts of clients", |_, _| ()),
    ("30 % 404s", |world, _| world.crowd.not_found = 0.3),
    ("60 % redirects", |world, _| world.crowd.redirects = 0.6),
    ("a third of a millisecond", |world, _| set(world, |model| model.median_micros = 330.0)),
    ("heavy tails", |world, chance| {
        let shape = Shape::Tailed { deviation: 1.0, exponent: 1.5 };
        let model = Behaviour::shaped(chance, shape, Failing::Steady(0.01));
        (world.stable, world.canary) = (model, model);
    }),
];

fn set(world: &mut World, change: fn(&mut Behaviour)) {
    change(&mut world.stable);
    change(&mut world.canary);
}
