//! A day in the life of a token cache: an endpoint that fails in every way, clocks that jump, a machine that sleeps.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use vertex_chat::auth::{
    AuthError, AuthErrorKind, BACKOFF_MAX, Cached, Fetch, FetchedToken, Secret, TOKEN_TOTAL_TIMEOUT,
    TokenSource,
};
use vertex_chat::transport::{Clock, SimulatedClock};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest that a call may wait: all the attempts at a token, and a little.
const CALL_MAX: Duration = TOKEN_TOTAL_TIMEOUT.saturating_add(Duration::from_secs(10));

/// What the endpoint does at present.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Fine,
    Failing,
    Hanging,
    Garbage,
}

/// The endpoint, and the world as it truly is.
#[derive(Debug)]
struct World {
    clock: SimulatedClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// Time that passed while the machine slept: the monotonic clock does not know of it.
    slept: Duration,
    rng: Rng,
    issued: u32,
    /// By token: when it was asked for and when it ends, in true time.
    tokens: BTreeMap<String, (Duration, Duration)>,
    failures: u32,
    /// When the last request ended, by the monotonic clock.
    last_end: Option<Duration>,
    last_failure: Option<Duration>,
    requests: u32,
    /// How often the clock has jumped or the machine has slept: until now, and until the last request.
    jumps: u32,
    jumps_at_start: u32,
    under_way: u32,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let state = State {
            weather: Weather::Fine,
            slept: Duration::ZERO,
            rng: Rng::with_seed(seed),
            issued: 0,
            tokens: BTreeMap::new(),
            failures: 0,
            last_end: None,
            last_failure: None,
            requests: 0,
            jumps: 0,
            jumps_at_start: 0,
            under_way: 0,
        };
        Arc::new(Self { clock: SimulatedClock::new(), state: Mutex::new(state) })
    }

    fn truth(&self) -> Duration {
        self.clock.monotonic() + self.state.lock().unwrap().slept
    }

    fn ended(&self, ok: bool) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap();
        state.under_way -= 1;
        state.last_end = Some(now);
        if ok {
            state.failures = 0;
        } else {
            state.failures += 1;
            state.last_failure = Some(now);
        }
    }
}

#[async_trait::async_trait]
impl Fetch for World {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        let asked_at = self.clock.monotonic();
        let asked_truly = self.truth();
        let (weather, wait) = {
            let mut state = self.state.lock().unwrap();
            state.requests += 1;
            // A request in which the machine slept, or the clock jumped, may be made again at once.
            let jumps = state.jumps;
            let quiet = std::mem::replace(&mut state.jumps_at_start, jumps) == jumps;
            state.under_way += 1;
            assert_eq!(state.under_way, 1, "one request at a time");
            // Never sooner than the back-off allows: 1 s, 2 s, 4 s … 60 s, a tenth less by chance.
            if !quiet && state.last_end == Some(asked_at) {
                // Again at once: for the cache that is one request, and so one failure.
                state.failures = state.failures.saturating_sub(1);
            }
            let last_end = state.last_end.filter(|_| quiet);
            if let (Some(end), failures @ 1..) = (last_end, state.failures) {
                let backoff = Duration::from_secs(1 << (failures - 1).min(6)).min(BACKOFF_MAX).mul_f64(0.9);
                assert!(asked_at >= end + backoff, "{:?} after failure {failures}", asked_at - end);
            } else if let Some(end) = last_end {
                assert!(asked_at >= end + Duration::from_secs(1), "at once after a success");
            }
            (state.weather, Duration::from_millis(state.rng.u64(0..3000)))
        };
        self.clock.sleep(wait).await;
        let refused = |kind, what: &str| Err(AuthError::new(kind, what));
        let result = match weather {
            Weather::Fine => {
                let mut state = self.state.lock().unwrap();
                state.issued += 1;
                let life = Duration::from_secs([60, 224, 300, 3599, 3599, 3599][state.rng.usize(0..6)]);
                let name = format!("token-{}", state.issued);
                state.tokens.insert(name.clone(), (asked_truly, asked_truly + life));
                Ok(FetchedToken::new(Secret::new(name), asked_at, life))
            }
            Weather::Failing => refused(AuthErrorKind::Unavailable, "503"),
            // A token that no header can carry.
            Weather::Garbage => Ok(FetchedToken::new(Secret::new("\n"), asked_at, Duration::from_secs(3599))),
            Weather::Hanging => {
                self.clock.sleep(TOKEN_TOTAL_TIMEOUT - wait).await;
                refused(AuthErrorKind::Unavailable, "no answer in time")
            }
        };
        self.ended(weather == Weather::Fine);
        result
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// One call of a program: the token that it got, if any, and how long it waited.
async fn call(world: &World, tokens: &Arc<Cached>) -> (Result<String, AuthError>, Duration) {
    if let Some(token) = tokens.cached() {
        return (Ok(token.secret().expose().to_owned()), Duration::ZERO);
    }
    let asking = {
        let tokens = Arc::clone(tokens);
        tokio::spawn(async move { tokens.refresh().await })
    };
    let mut waited = Duration::ZERO;
    settle().await;
    while !asking.is_finished() {
        world.clock.advance(Duration::from_millis(500));
        waited += Duration::from_millis(500);
        assert!(waited <= CALL_MAX, "a call hangs");
        settle().await;
    }
    (asking.await.unwrap().map(|token| token.secret().expose().to_owned()), waited)
}

/// What may happen to the machine, beside the weather.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// The time of day is set wrong, and right again.
    ClockJumps,
    /// The lid is closed: the wall clock goes on, the monotonic one stands still.
    Sleep,
}

async fn day(seed: u64, trouble: Trouble) -> u32 {
    let world = World::new(seed);
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let tokens = Arc::new(Cached::new(Arc::clone(&world) as Arc<dyn Fetch>, Arc::new(world.clock.clone())));
    let start = world.clock.wall();
    let true_wall = |world: &World| start + world.truth();
    let mut weather_until = Duration::ZERO;
    let (mut is_wrong, mut last_jump) = (false, Duration::ZERO);
    while world.truth() < DAY {
        if world.truth() >= weather_until {
            let weathers =
                [Weather::Fine, Weather::Fine, Weather::Failing, Weather::Hanging, Weather::Garbage];
            world.state.lock().unwrap().weather = weathers[rng.usize(0..5)];
            weather_until = world.truth() + Duration::from_secs(rng.u64(10..3600));
        }
        if rng.u32(0..300) == 0 {
            world.state.lock().unwrap().jumps += 1;
            match trouble {
                Trouble::ClockJumps => {
                    is_wrong = !is_wrong;
                    last_jump = world.truth();
                    let wall: SystemTime = match (is_wrong, rng.bool()) {
                        (true, true) => true_wall(&world) + Duration::from_secs(rng.u64(60..7200)),
                        (true, false) => true_wall(&world) - Duration::from_secs(rng.u64(60..7200)),
                        (false, _) => true_wall(&world),
                    };
                    world.clock.set_wall(wall);
                }
                Trouble::Sleep => {
                    let asleep = Duration::from_secs(rng.u64(60..7200));
                    world.state.lock().unwrap().slept += asleep;
                    world.clock.set_wall(true_wall(&world));
                }
            }
        }
        world.clock.advance(Duration::from_millis(rng.u64(100..30_000)));
        settle().await;
        let (before, weather) = (world.clock.monotonic(), world.state.lock().unwrap().weather);
        let good_before = {
            let (truth, state) = (world.truth(), world.state.lock().unwrap());
            // With the margin before its end in which a token counts as dead. A clock that was set ahead since then hides a
            // good token, and nobody can know.
            let newest = state.tokens.get(&format!("token-{}", state.issued));
            newest.is_some_and(|(asked, end)| *asked > last_jump && *end > truth + Duration::from_secs(10))
        };
        let (result, waited) = call(&world, &tokens).await;
        match result {
            Ok(token) => {
                let (_, ends) = world.state.lock().unwrap().tokens[&token];
                assert!(world.truth() < ends, "a token that has ended was given out ({weather:?})");
            }
            Err(error) => {
                // Only where none was to be had: no good one at hand (a jump may have hidden it), and the endpoint failed
                // now or so shortly ago that nobody may ask again.
                let state = world.state.lock().unwrap();
                let recently =
                    state.last_failure.is_some_and(|at| at + BACKOFF_MAX.mul_f64(1.1) + waited >= before);
                assert!(recently, "{error} though the endpoint was not failing ({weather:?})");
                assert!(!good_before, "{error} though a token was good");
            }
        }
    }
    let requests = world.state.lock().unwrap().requests;
    drop(tokens);
    settle().await;
    requests
}

#[tokio::test]
async fn acceptance_11_a_day_of_faults_and_clock_jumps() {
    for seed in 0..12 {
        let requests = day(seed, Trouble::ClockJumps).await;
        assert!((24..3000).contains(&requests), "{requests} requests in a day");
    }
}

#[tokio::test]
async fn acceptance_11_a_day_of_faults_and_sleep() {
    for seed in 20..32 {
        let requests = day(seed, Trouble::Sleep).await;
        assert!((12..3000).contains(&requests), "{requests} requests in a day");
    }
}
