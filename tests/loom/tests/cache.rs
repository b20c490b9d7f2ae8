//! The decisions of the token cache (`state.rs`, the very file) under loom: threads that ask, a request that lands or fails or
//! is lost, a service that refuses tokens, in every order in which they can come.

// The file is the crate's; not everything in it is used here.
#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../../../crates/vertex-chat-auth/src/state.rs"]
mod state;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use state::{Flight, Held, Moment, State, Step, Waiter};

/// How a request ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Lands,
    Fails,
    /// Its task is gone before it has said anything.
    IsLost,
}

/// A request under way: over or not, and whoever waits for that.
#[derive(Clone)]
struct Request(Arc<(Mutex<bool>, Condvar)>);

impl Request {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn end(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut over = self.0.0.lock().unwrap();
        while !*over {
            over = self.0.1.wait(over).unwrap();
        }
    }
}

impl Flight for Request {
    fn is_over(&self) -> bool {
        *self.0.0.lock().unwrap()
    }
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

struct Cache {
    state: Mutex<State<u32, &'static str, Request>>,
    end: End,
    /// Requests that were started, and that are under way.
    started: AtomicUsize,
    flying: AtomicUsize,
}

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Moment = (Duration::from_secs(1000), SystemTime::UNIX_EPOCH);

/// A token: fresh now, unless it is said to be stale.
fn held(token: u32, stale: bool) -> Held<u32> {
    let at = |ahead: Duration| (NOW.0 + ahead, NOW.1 + ahead);
    let stale_at = if stale { NOW } else { at(HOUR) };
    Held { token, stale_at, dead_at: at(HOUR * 2), invalid: false, came_dead: false }
}

impl Cache {
    fn new(end: End, first: Option<Held<u32>>) -> Arc<Self> {
        let mut state = State::default();
        if let Some(first) = first {
            // It landed long ago.
            state.land((Duration::ZERO, NOW.1), first, |_| true);
        }
        let (started, flying) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { state: Mutex::new(state), end, started, flying })
    }

    /// Starts a request as a thread of its own, as the cache starts a task. The state is the caller's.
    fn take_off(self: &Arc<Self>, state: &mut State<u32, &'static str, Request>) -> Request {
        let request = Request::new();
        state.take_off(request.clone());
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(self.flying.fetch_add(1, Ordering::SeqCst), 0, "one request at a time");
        let (cache, landing) = (Arc::clone(self), request.clone());
        thread::spawn(move || {
            cache.flying.fetch_sub(1, Ordering::SeqCst);
            match cache.end {
                End::Lands => {
                    let token = held(100 + u32::try_from(number).unwrap(), false);
                    cache.state.lock().unwrap().land(NOW, token, |it| it.is(&landing));
                }
                End::Fails => cache.state.lock().unwrap().fail(NOW, "no", None, 0.5, |it| it.is(&landing)),
                End::IsLost => {}
            }
            landing.end();
        });
        request
    }

    fn cached(self: &Arc<Self>) -> Option<u32> {
        let mut state = self.state.lock().unwrap();
        let (token, wants_next) = state.cached(NOW)?;
        let token = *token;
        if wants_next {
            self.take_off(&mut state);
        }
        Some(token)
    }

    fn refresh(self: &Arc<Self>) -> Result<u32, Option<&'static str>> {
        let mut waiter = Waiter::default();
        // Two waits at most: for somebody else's request, and for one's own.
        for _ in 0..4 {
            let request = {
                let mut state = self.state.lock().unwrap();
                match state.next(NOW, waiter) {
                    Step::Take(token) => return Ok(token),
                    Step::Fail(error) => return Err(error),
                    Step::Wait(request) => request,
                    Step::TakeOff => {
                        waiter.took_off = true;
                        self.take_off(&mut state)
                    }
                }
            };
            waiter.tried = true;
            request.wait();
        }
        panic!("whoever waits is told in the end")
    }
}

fn callers(cache: &Arc<Cache>, count: usize) -> Vec<thread::JoinHandle<Result<u32, Option<&'static str>>>> {
    (0..count)
        .map(|_| {
            let cache = Arc::clone(cache);
            thread::spawn(move || cache.refresh())
        })
        .collect()
}

/// Every order, without a bound on how often one thread interrupts another.
fn explore(test: impl Fn() + Sync + Send + 'static) {
    loom::model(test);
}

#[test]
fn two_who_ask_for_the_first_token_make_one_request() {
    explore(|| {
        let cache = Cache::new(End::Lands, None);
        for caller in callers(&cache, 2) {
            assert_eq!(caller.join().unwrap(), Ok(101));
        }
        assert_eq!(cache.started.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_failure_is_told_to_both_and_not_tried_again_at_once() {
    explore(|| {
        let cache = Cache::new(End::Fails, None);
        for caller in callers(&cache, 2) {
            assert_eq!(caller.join().unwrap(), Err(Some("no")));
        }
        assert_eq!(cache.started.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_lost_request_leaves_nobody_waiting() {
    // Four threads with two waits each are too many orders for all of them: three interruptions of each.
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let cache = Cache::new(End::IsLost, None);
        for caller in callers(&cache, 2) {
            assert_eq!(caller.join().unwrap(), Err(None));
        }
        // Each may try for itself, once.
        assert!(cache.started.load(Ordering::SeqCst) <= 2);
    });
}

#[test]
fn a_stale_token_is_given_out_and_replaced_by_one_request() {
    explore(|| {
        let cache = Cache::new(End::Lands, Some(held(1, true)));
        let other = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.cached())
        };
        let own = cache.cached();
        for token in [own, other.join().unwrap()] {
            assert!(matches!(token, Some(1 | 101)), "{token:?}");
        }
        assert_eq!(cache.started.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_failed_refresh_leaves_the_stale_token_in_use() {
    explore(|| {
        let cache = Cache::new(End::Fails, Some(held(1, true)));
        let other = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || (cache.cached(), cache.refresh()))
        };
        assert_eq!(cache.cached(), Some(1));
        assert_eq!(other.join().unwrap(), (Some(1), Ok(1)));
        assert_eq!(cache.started.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_refused_token_is_replaced_by_one_request_however_many_say_so() {
    explore(|| {
        let cache = Cache::new(End::Lands, Some(held(1, false)));
        let refused: Vec<_> = (0..2)
            .map(|_| {
                let cache = Arc::clone(&cache);
                thread::spawn(move || {
                    cache.state.lock().unwrap().invalidate(NOW, &1);
                    cache.refresh()
                })
            })
            .collect();
        for caller in refused {
            assert_eq!(caller.join().unwrap(), Ok(101));
        }
        assert_eq!(cache.started.load(Ordering::SeqCst), 1);
        // An old token's refusal says nothing about the new one.
        cache.state.lock().unwrap().invalidate(NOW, &1);
        assert_eq!(cache.cached(), Some(101));
    });
}

#[test]
fn a_request_that_was_given_up_clears_away_no_other() {
    loom::model(|| {
        let cache = Cache::new(End::Fails, None);
        let (old, new) = (Request::new(), Request::new());
        cache.state.lock().unwrap().take_off(old.clone());
        let late = {
            let (cache, old) = (Arc::clone(&cache), old.clone());
            thread::spawn(move || cache.state.lock().unwrap().fail(NOW, "late", None, 0.5, |it| it.is(&old)))
        };
        // Whoever has waited too long gives it up and starts another.
        let given_up = {
            let mut state = cache.state.lock().unwrap();
            let given_up = state.abandon(&old).is_some();
            if given_up {
                state.take_off(new.clone());
            }
            given_up
        };
        late.join().unwrap();
        let mut state = cache.state.lock().unwrap();
        match (given_up, state.next(NOW, Waiter::default())) {
            (true, Step::Wait(request)) => assert!(request.is(&new), "the other is still waited for"),
            (false, Step::Fail(error)) => assert_eq!(error, Some("late")),
            _ => panic!("one or the other"),
        }
        assert_eq!(state.stop().is_some(), given_up);
    });
}
