//! The cache in front of a token endpoint: fresh, stale, dead; one request at a time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use vertex_chat_transport::{Clock, within};

use crate::oauth::{LIFE_MAX, TOKEN_TOTAL_TIMEOUT};
use crate::{AccessToken, AuthError, AuthErrorKind, Secret, TokenSource};

/// How long before its end a token is stale. The metadata server hands out the same token until 240 s before its end,
/// so a longer margin would ask in vain.
pub const STALE_MARGIN: Duration = Duration::from_secs(225);
/// How long before its end a token is dead: a request takes a while to arrive.
pub const DEAD_MARGIN: Duration = Duration::from_secs(10);
/// The longest wait after failures. It begins with one second and doubles.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How often a token may be invalidated. A service that refuses every token would else be sent a request for each.
pub const FORCED_REFRESH_GAP: Duration = Duration::from_secs(30);
/// How much earlier a token may turn stale, at random, so that many programs do not refresh in step.
const JITTER_MAX: Duration = Duration::from_secs(15);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// A request that has not ended this long after its time is on a runtime that stands still.
const FLIGHT_SLACK: Duration = Duration::from_secs(5);

/// A way to get a token, without a cache: what stands behind [`Cached`].
#[async_trait]
pub trait Fetch: fmt::Debug + Send + Sync + 'static {
    /// Gets a token. Must come to an end by itself.
    ///
    /// # Errors
    /// When there is none to be had now.
    async fn fetch(&self) -> Result<FetchedToken, AuthError>;

    /// How long [`fetch`](Self::fetch) takes at most.
    fn time_max(&self) -> Duration {
        TOKEN_TOTAL_TIMEOUT
    }

    /// Headers that go where the token goes.
    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }
}

/// A token as it came, and how long it lives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchedToken {
    /// The token.
    pub secret: Secret,
    /// When it was asked for, by [`Clock::monotonic`].
    pub asked_at: Duration,
    /// How long it lives from then on.
    pub life: Duration,
}

impl FetchedToken {
    /// A token that was asked for at this time and lives this long.
    #[must_use]
    pub fn new(secret: Secret, asked_at: Duration, life: Duration) -> Self {
        Self { secret, asked_at, life }
    }
}

/// A [`TokenSource`] over a [`Fetch`].
///
/// Requests are tasks of the tokio runtime of whoever comes first; when that runtime ends before the request does,
/// another caller's takes over. Dropping the source stops its request.
pub struct Cached(Arc<Inner>);

struct Inner {
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<Flight>,
    failures: u32,
    last_error: Option<AuthError>,
    /// No request before this time, by the monotonic clock.
    next_try: Duration,
    forced_at: Option<Duration>,
}

/// A token, and until when by both clocks: the earlier counts.
struct Held {
    token: AccessToken,
    stale_at: (Duration, SystemTime),
    dead_at: (Duration, SystemTime),
    invalid: bool,
}

/// A request under way. `done` is closed when it is over, however it ended.
struct Flight {
    done: watch::Receiver<()>,
    task: AbortHandle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Age {
    Fresh,
    Stale,
    Dead,
}

impl Held {
    fn age(&self, now: (Duration, SystemTime)) -> Age {
        let past = |at: (Duration, SystemTime)| now.0 >= at.0 || now.1 >= at.1;
        if self.invalid || past(self.dead_at) {
            Age::Dead
        } else if past(self.stale_at) {
            Age::Stale
        } else {
            Age::Fresh
        }
    }
}

impl Cached {
    /// A cache with nothing in it. Needs no runtime.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { fetch, clock, state: Mutex::default() }))
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cached").field(&self.0.fetch).finish()
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        if let Some(flight) = self.0.state().flight.take() {
            flight.task.abort();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> (Duration, SystemTime) {
        (self.clock.monotonic(), self.clock.wall())
    }

    /// Starts a request on this runtime. The state is the caller's.
    fn take_off(self: &Arc<Self>, state: &mut State, runtime: &Handle) -> watch::Receiver<()> {
        let (landing, done) = watch::channel(());
        let (fetch, inner) = (Arc::clone(&self.fetch), Arc::downgrade(self));
        let task = runtime.spawn(async move {
            // Dropped with the task, even when the runtime ends first: whoever waits is told.
            let _landing = landing;
            let result = fetch.fetch().await;
            if let Some(inner) = Weak::upgrade(&inner) {
                inner.land(result);
            }
        });
        state.flight = Some(Flight { done: done.clone(), task: task.abort_handle() });
        done
    }

    /// Waits for a request to end; `false` when it takes longer than any should.
    async fn landed(&self, mut done: watch::Receiver<()>) -> bool {
        let limit = self.fetch.time_max().saturating_add(FLIGHT_SLACK);
        // Ends with an error when the sender is dropped, which is the landing.
        within(&self.clock, limit, done.changed()).await.is_some()
    }

    fn land(&self, result: Result<FetchedToken, AuthError>) {
        let headers = self.fetch.headers();
        let now = self.now();
        let result = result.and_then(|fetched| {
            let token = AccessToken::google(fetched.secret, headers)?;
            let life = fetched.life.min(LIFE_MAX);
            let stale_margin = STALE_MARGIN.min(life / 2);
            let jitter = JITTER_MAX.min(life / 20).mul_f64(fastrand::f64());
            let end = fetched.asked_at.saturating_add(life);
            // The same moments by the other clock.
            let wall = |at: Duration| match at.checked_sub(now.0) {
                Some(ahead) => now.1 + ahead,
                None => now.1 - (now.0 - at),
            };
            let stale_at = end.saturating_sub(stale_margin + jitter);
            let dead_at = end.saturating_sub(DEAD_MARGIN.min(life / 10));
            let (stale_at, dead_at) = ((stale_at, wall(stale_at)), (dead_at, wall(dead_at)));
            Ok(Held { token, stale_at, dead_at, invalid: false })
        });
        let mut state = self.state();
        state.flight = None;
        match result {
            Ok(held) => {
                // Even one that is as good as dead, such as the metadata server's last: not asked for again at once.
                state.next_try = now.0 + BACKOFF_FIRST;
                state.failures = 0;
                state.last_error = None;
                state.held = Some(held);
            }
            Err(error) => {
                let backoff = BACKOFF_FIRST.saturating_mul(1 << state.failures.min(6)).min(BACKOFF_MAX);
                let backoff = backoff.mul_f64(0.9 + 0.2 * fastrand::f64());
                let asked = error.retry_after().unwrap_or_default();
                state.next_try = now.0 + asked.max(backoff).min(BACKOFF_MAX);
                state.failures = state.failures.saturating_add(1);
                tracing::debug!(%error, "no new access token");
                state.last_error = Some(error);
            }
        }
    }
}

#[async_trait]
impl TokenSource for Cached {
    fn cached(&self) -> Option<AccessToken> {
        let now = self.0.now();
        let mut state = self.0.state();
        let held = state.held.as_ref()?;
        let token = match held.age(now) {
            Age::Fresh => return Some(held.token.clone()),
            Age::Stale => held.token.clone(),
            Age::Dead => return None,
        };
        if state.flight.as_ref().is_none_or(Flight::is_over) && now.0 >= state.next_try {
            // Outside of a runtime nothing can be started; the next caller inside of one will.
            if let Ok(runtime) = Handle::try_current() {
                self.0.take_off(&mut state, &runtime);
            }
        }
        Some(token)
    }

    async fn refresh(&self) -> Result<AccessToken, AuthError> {
        // Whether a request was waited for, and whether it was this caller's own.
        let (mut tried, mut took_off) = (false, false);
        loop {
            let done = {
                let now = self.0.now();
                let mut state = self.0.state();
                match &state.held {
                    Some(held) if held.age(now) != Age::Dead => return Ok(held.token.clone()),
                    // A token that came dead is all that there is: better than nothing, and the service will judge.
                    Some(held)
                        if (tried || now.0 < state.next_try)
                            && !held.invalid
                            && state.last_error.is_none() =>
                    {
                        return Ok(held.token.clone());
                    }
                    _ => {}
                }
                match &state.flight {
                    Some(flight) if !flight.is_over() => flight.done.clone(),
                    _ if took_off => {
                        let message = "the request for a token ended without an answer";
                        let ended = || AuthError::new(AuthErrorKind::Unavailable, message);
                        return Err(state.last_error.clone().unwrap_or_else(ended));
                    }
                    _ if now.0 < state.next_try && (tried || state.last_error.is_some()) => {
                        let error = state.last_error.clone();
                        return Err(error.unwrap_or_else(|| {
                            AuthError::new(AuthErrorKind::Unavailable, "the token endpoint gives dead tokens")
                        }));
                    }
                    _ => {
                        took_off = true;
                        let runtime = Handle::try_current().map_err(|_| {
                            AuthError::configuration("a token can be got on a tokio runtime only")
                        })?;
                        self.0.take_off(&mut state, &runtime)
                    }
                }
            };
            tried = true;
            if !self.0.landed(done.clone()).await {
                // It is on a runtime that nobody drives; whoever waits here asks anew, here.
                let mut state = self.0.state();
                if let Some(flight) = state.flight.take_if(|flight| flight.done.same_channel(&done)) {
                    flight.task.abort();
                }
            }
        }
    }

    fn invalidate(&self, token: &AccessToken) {
        let now = self.0.now().0;
        let mut state = self.0.state();
        let too_soon = state.forced_at.is_some_and(|at| now < at + FORCED_REFRESH_GAP);
        match &mut state.held {
            Some(held) if held.token == *token && !held.invalid && !too_soon => held.invalid = true,
            _ => return,
        }
        state.forced_at = Some(now);
        state.next_try = now;
        state.last_error = None;
    }
}

impl Flight {
    fn is_over(&self) -> bool {
        self.done.has_changed().is_err()
    }
}
