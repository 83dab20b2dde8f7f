//! `/openapi.json`: what the routes take and give, for programs that read it.

mod routes;

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, Paths, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, Info, OpenApi as Document, Ref, Required, ResponseBuilder, ResponsesBuilder,
};

use crate::router::LATER;
use crate::schema::Schemas;
use routes::{NOT_YET, ROUTES, Route, route};

/// The document.
pub(crate) fn document() -> Document {
    let about = "Texts, pictures, vectors and transcripts by models on this machine, in the shapes of OpenAI's API; jobs, library and \
                 catalog are Medley's own.";
    let mut info = Info::new("Medley", env!("CARGO_PKG_VERSION"));
    info.description = Some(about.to_owned());
    let mut document = Document::new(info, paths());
    document.components = Schemas::openapi().components;
    document
}

/// The document as it is committed.
pub fn openapi() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) async fn serve() -> Json<Document> {
    Json(document())
}

fn paths() -> Paths {
    let mut paths = PathsBuilder::new().build();
    let failing = |method, path| route(method, path, NOT_YET, "Failure");
    let later = LATER.iter();
    let later = later.flat_map(|(path, methods)| methods.iter().map(|m| failing(m, path)));
    let later: Vec<Route> = later.collect();
    for route in ROUTES.iter().chain(&later) {
        let method = match route.method {
            "post" => HttpMethod::Post,
            "patch" => HttpMethod::Patch,
            "delete" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.add_path_operation(route.path, vec![method], operation(route));
    }
    paths
}

fn operation(route: &Route) -> utoipa::openapi::path::Operation {
    let id = format!(
        "{}{}",
        route.method,
        route.path.replace(['/', '.'], "_").replace(['{', '}'], "")
    );
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(id));
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    for part in route.path.split('/') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path);
            operation =
                operation.parameter(parameter.required(Required::True).schema(Some(text())));
        }
    }
    for name in route.query {
        let parameter = ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query);
        let schema = match *name {
            "limit" => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(100))
                .build(),
            "starting_after" => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
                .build(),
            "stream" => ObjectBuilder::new().schema_type(Type::Boolean).build(),
            "order" => ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(["asc", "desc"]))
                .build(),
            _ => text(),
        };
        operation = operation.parameter(parameter.required(Required::False).schema(Some(schema)));
    }
    if let Some(body) = route.body {
        let forms = [
            "FileUpload",
            "ImageEdit",
            "TranscriptionRequest",
            "TranslationRequest",
            "VideoRequest",
        ];
        let kind = if forms.contains(&body) {
            "multipart/form-data"
        } else {
            "application/json"
        };
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(kind, content(body));
        operation = operation.request_body(Some(body.build()));
    }
    operation.responses(responses(route)).build()
}

fn content(schema: &str) -> utoipa::openapi::Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(schema)))
        .build()
}

fn responses(route: &Route) -> utoipa::openapi::Responses {
    let good = ResponseBuilder::new().description("Well");
    let good = match route.answer.contains('/') {
        true => {
            let any = ObjectBuilder::new()
                .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
                .build();
            good.content(
                route.answer,
                ContentBuilder::new().schema(Some(any)).build(),
            )
        }
        false => good.content("application/json", content(route.answer)),
    };
    let bad = ResponseBuilder::new().description("Refused, or failed: the error says why");
    let status = match route.summary == NOT_YET {
        true => "501",
        false => "200",
    };
    ResponsesBuilder::new()
        .response(status, good.build())
        .response(
            "default",
            bad.content("application/json", content("Failure")).build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if std::env::var_os("MEDLEY_WRITE_OPENAPI").is_some() {
            std::fs::write(path, openapi()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == openapi(),
            "docs/openapi.json is out of date: run this test with MEDLEY_WRITE_OPENAPI=1"
        );
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let document = serde_json::to_value(document()).unwrap();
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }
}
