use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::desk::Peer;
use crate::router::router;
use crate::service::Service;

/// How long requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection may be without a request, or take to send the head of one.
const IDLE: Duration = Duration::from_secs(60);

/// How long is waited where a connection cannot be taken in.
const PAUSE: Duration = Duration::from_millis(100);

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
        let connections = accept(&listener, &service).await;
        drop(listener);
        tokio::select! {
            () = connections.shutdown() => {}
            () = overdue() => {}
        }
        Ok(())
    });
    service.stop(GRACE);
    runtime.shutdown_background();
    served
}

/// Takes in connections until the first signal.
async fn accept(listener: &TcpListener, service: &Arc<Service>) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(service.settings.connections));
    let app = router(service.clone());
    let ending = signal();
    tokio::pin!(ending);
    loop {
        // Who finds no place waits in the system's queue.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = &mut ending => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ending => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                // Most likely there are too many open files; some of them will be closed.
                tracing::warn!("no connection could be taken in: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Events are small, and should not wait for more.
        drop(stream.set_nodelay(true));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE);
        let app = app.clone().layer(Extension(Peer(peer)));
        let app = TowerToHyperService::new(app);
        let connection = http.serve_connection(TokioIo::new(stream), app);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
    connections
}

/// When requests have had their time after the first signal.
async fn overdue() {
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
