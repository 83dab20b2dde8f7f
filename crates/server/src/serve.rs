use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::router::router;
use crate::service::Service;

/// How long requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until Ctrl-C or a request to end (SIGTERM). Requests that are running then have five seconds to come to their
/// end; a second Ctrl-C ends them at once. `started` is told the address, whose port the system picks where it was 0.
///
/// # Errors
/// When the address cannot be had.
pub fn serve(
    service: Arc<Service>,
    address: SocketAddr,
    started: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    // What computes has its own thread; this one only moves bytes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        started(listener.local_addr()?);
        let told = Arc::new(Notify::new());
        let ending = told.clone();
        let server = axum::serve(listener, router(service)).with_graceful_shutdown(async move {
            signal().await;
            ending.notify_one();
        });
        tokio::select! {
            ended = async { server.await } => ended,
            () = overdue(&told) => Ok(()),
        }
    });
    runtime.shutdown_background();
    served
}

/// When requests have had their time after the first signal.
async fn overdue(told: &Notify) {
    told.notified().await;
    tokio::select! {
        () = tokio::time::sleep(GRACE) => {}
        () = signal() => {}
    }
}

/// Waits for Ctrl-C, or SIGTERM where there is such a thing.
async fn signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    interrupt.await;
}
