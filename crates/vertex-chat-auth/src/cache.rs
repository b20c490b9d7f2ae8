//! The cache in front of a token endpoint: fresh, stale, dead; one request at a time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use vertex_chat_transport::{Clock, within};

use crate::oauth::{LIFE_MAX, TOKEN_TOTAL_TIMEOUT};
use crate::state::{Flight, Held, Moment, State, Step, Waiter};
use crate::{AccessToken, AuthError, AuthErrorKind, Secret, TokenSource};

/// How long before its end a token is stale. The metadata server hands out the same token until 240 s before its end,
/// so a longer margin would ask in vain.
pub const STALE_MARGIN: Duration = Duration::from_secs(225);
/// How long before its end a token is dead: a request takes a while to arrive.
pub const DEAD_MARGIN: Duration = Duration::from_secs(10);
/// How much earlier a token may turn stale, at random, so that many programs do not refresh in step.
const JITTER_MAX: Duration = Duration::from_secs(15);
/// From when on a difference between the clocks is the machine's sleep.
const SLEEP_MIN: Duration = Duration::from_secs(5);
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
    state: Mutex<State<AccessToken, AuthError, Request>>,
}

/// A request under way. `done` is closed when it is over, however it ended.
#[derive(Clone)]
struct Request {
    done: watch::Receiver<()>,
    task: AbortHandle,
}

impl Flight for Request {
    fn is_over(&self) -> bool {
        self.done.has_changed().is_err()
    }

    fn is(&self, other: &Self) -> bool {
        self.done.same_channel(&other.done)
    }
}

/// This moment by both clocks.
fn now(clock: &dyn Clock) -> Moment {
    (clock.monotonic(), clock.wall())
}

/// Whether more time has passed by the wall clock than by the monotonic one, which stands still while a machine sleeps.
fn has_slept(then: Moment, now: Moment) -> bool {
    let wall = now.1.duration_since(then.1).unwrap_or_default();
    wall.saturating_sub(now.0.saturating_sub(then.0)) > SLEEP_MIN
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
        if let Some(request) = self.0.state().stop() {
            request.task.abort();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State<AccessToken, AuthError, Request>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        now(&*self.clock)
    }

    /// Starts a request on this runtime. The state is the caller's.
    fn take_off(
        self: &Arc<Self>,
        state: &mut State<AccessToken, AuthError, Request>,
        runtime: &Handle,
    ) -> Request {
        let (landing, done) = watch::channel(());
        let own = done.clone();
        let (fetch, inner) = (Arc::clone(&self.fetch), Arc::downgrade(self));
        let clock = Arc::clone(&self.clock);
        let task = runtime.spawn(async move {
            // `landing` is dropped with the task, even when the runtime ends first: whoever waits is told.
            let mut began = now(&*clock);
            let mut result = fetch.fetch().await;
            // A machine that slept in the meantime cannot tell how much of the token's life is left. Once: a clock may go
            // wrong for ever.
            if result.is_ok() && has_slept(began, now(&*clock)) {
                began = now(&*clock);
                let _ = landing.send(());
                result = fetch.fetch().await;
            }
            if let Some(inner) = Weak::upgrade(&inner) {
                inner.land(began, result, &own);
            }
        });
        let request = Request { done, task: task.abort_handle() };
        state.take_off(request.clone());
        request
    }

    /// Waits for a request to end; `false` when it takes longer than any should.
    async fn landed(&self, request: &Request) -> bool {
        let mut done = request.done.clone();
        let limit = self.fetch.time_max().saturating_add(FLIGHT_SLACK);
        loop {
            match within(&self.clock, limit, done.changed()).await {
                // The sender is dropped, which is the landing.
                Some(Err(_)) => return true,
                // It was begun again, and has its time again.
                Some(Ok(())) => {}
                None => return false,
            }
        }
    }

    /// What a request has brought that began at this moment.
    fn land(&self, began: Moment, result: Result<FetchedToken, AuthError>, own: &watch::Receiver<()>) {
        let headers = self.fetch.headers();
        let now = self.now();
        let result = result.and_then(|fetched| {
            let token = AccessToken::google(fetched.secret, headers)?;
            let life = fetched.life.min(LIFE_MAX);
            let stale_margin = STALE_MARGIN.min(life / 2);
            let jitter = JITTER_MAX.min(life / 20).mul_f64(fastrand::f64());
            let end = fetched.asked_at.saturating_add(life);
            // The same moments by the other clock, counted from the request's beginning and from its end: the earlier.
            let counted = |at: Duration, from: Moment| match at.checked_sub(from.0) {
                Some(ahead) => from.1 + ahead,
                None => from.1 - (from.0 - at),
            };
            let wall = |at: Duration| counted(at, began).min(counted(at, now));
            let stale_at = end.saturating_sub(stale_margin + jitter);
            let dead_at = end.saturating_sub(DEAD_MARGIN.min(life / 10));
            let (stale_at, dead_at) = ((stale_at, wall(stale_at)), (dead_at, wall(dead_at)));
            Ok(Held { token, stale_at, dead_at, invalid: false, came_dead: false })
        });
        let is_own = |request: &Request| request.done.same_channel(own);
        let mut state = self.state();
        match result {
            Ok(held) => state.land(now, held, is_own),
            Err(error) => {
                tracing::debug!(%error, "no new access token");
                let asked = error.retry_after();
                state.fail(now, error, asked, fastrand::f64(), is_own);
            }
        }
    }
}

#[async_trait]
impl TokenSource for Cached {
    fn cached(&self) -> Option<AccessToken> {
        let now = self.0.now();
        let mut state = self.0.state();
        let (token, wants_next) = state.cached(now)?;
        let token = token.clone();
        if wants_next {
            // Outside of a runtime nothing can be started; the next caller inside of one will.
            if let Ok(runtime) = Handle::try_current() {
                self.0.take_off(&mut state, &runtime);
            }
        }
        Some(token)
    }

    async fn refresh(&self) -> Result<AccessToken, AuthError> {
        let mut waiter = Waiter::default();
        loop {
            let request = {
                let now = self.0.now();
                let mut state = self.0.state();
                match state.next(now, waiter) {
                    Step::Take(token) => return Ok(token),
                    Step::Fail(Some(error)) => return Err(error),
                    Step::Fail(None) => {
                        let message = "the request for a token ended without an answer";
                        return Err(AuthError::new(AuthErrorKind::Unavailable, message));
                    }
                    Step::Wait(request) => request,
                    Step::TakeOff => {
                        waiter.took_off = true;
                        let runtime = Handle::try_current().map_err(|_| {
                            AuthError::configuration("a token can be got on a tokio runtime only")
                        })?;
                        self.0.take_off(&mut state, &runtime)
                    }
                }
            };
            waiter.tried = true;
            if !self.0.landed(&request).await {
                // It is on a runtime that nobody drives; whoever waits here asks anew, here.
                if let Some(request) = self.0.state().abandon(&request) {
                    request.task.abort();
                }
            }
        }
    }

    fn invalidate(&self, token: &AccessToken) {
        let now = self.0.now();
        self.0.state().invalidate(now, token);
    }
}
