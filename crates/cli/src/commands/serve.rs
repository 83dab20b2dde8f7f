use std::net::SocketAddr;
use std::sync::Arc;

use medley_engine::keys::Keys;
use medley_engine::serving::StoreShelf;
use medley_engine::{Home, LoadOptions, available_memory};
use medley_server::{Service, Settings, serve};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::app::{DEFAULT_TEXT, device, resolve, store};
use crate::args::{Global, ServeArgs};
use crate::output::{Failure, Outcome, note, print_json};

/// Where a key may come from without being seen in the list of processes.
const KEY_VARIABLE: &str = "MEDLEY_API_KEY";

/// `medley serve`
pub fn run(args: &ServeArgs, global: &Global) -> Outcome {
    let mut api_keys = args.api_key.clone();
    if api_keys.is_empty() {
        api_keys.extend(std::env::var(KEY_VARIABLE).ok().filter(|k| !k.is_empty()));
    }
    if api_keys.iter().any(|key| key.trim().is_empty()) {
        return Err(Failure::usage("--api-key: a key must not be empty"));
    }
    log(args)?;
    let home = Home::from_env()?;
    let open = api_keys.is_empty() && Keys::load(&home.keys_file())?.keys.is_empty();
    let model = resolve(args.model.as_deref().unwrap_or(DEFAULT_TEXT), global)?;
    let options = LoadOptions {
        device: device(global)?,
        ..LoadOptions::default()
    };
    let shelf = StoreShelf::new(store()?, options).with(&model);
    let mut settings = Settings {
        api_keys,
        local: args.host.is_loopback(),
        home: Some(home),
        ..Settings::default()
    };
    settings.limits.memory = args.memory.unwrap_or_else(|| match available_memory() {
        0 => u64::MAX,
        free => free / 4 * 3,
    });
    let name = shelf.own_name().unwrap_or(DEFAULT_TEXT).to_owned();
    let service = Service::new(Arc::new(shelf), settings)?;
    service.warm(&name)?;
    let address = SocketAddr::new(args.host, args.port);
    let mut told = Ok(());
    let served = serve(service, address, |address| {
        if open && !args.host.is_loopback() {
            note(
                global,
                "no --api-key: everyone who reaches this machine may use the server",
            );
        }
        let base = format!("http://{address}/v1");
        note(
            global,
            &format!(
                "{name} and the other models that are here: {base}; the studio: http://{address}/ (Ctrl-C ends)"
            ),
        );
        if global.json {
            told = print_json(&json!({ "url": base, "model": name }));
        }
    });
    served.map_err(|error| Failure::usage(format!("--host, --port: {address}: {error}")))?;
    told
}

/// Writes to stderr what the server has to say.
fn log(args: &ServeArgs) -> Outcome {
    let level: LevelFilter = args
        .log
        .parse()
        .map_err(|_| Failure::usage("--log: no such level"))?;
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let set = if args.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    };
    // Somebody else in this process listens already.
    drop(set);
    Ok(())
}
