//! Routes and their description in one place: a route can't be added without saying what it does.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, on},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
        Paths, Ref, RefOr, Required, ResponseBuilder,
        path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ObjectBuilder, Schema, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::problem::{Problem, type_uri};
use crate::{
    App,
    fault::FaultKind,
    limits::{PAGE_ITEMS, PAGE_ITEMS_MAX},
};

/// Where the API begins.
pub(crate) const PREFIX: &str = "/api/v1";
/// The one call that may take minutes.
pub(crate) const CHECK_UP: &str = "/api/v1/doctor";
const TOKEN: &str = "api-token";
const PROBLEM: &str = "Problem";

type Schemas = Vec<(String, RefOr<Schema>)>;

/// What is said of one call. It is words and ways to get more of them: the whole takes megabytes, and
/// is made only for who asks for it.
pub(crate) struct Doc {
    tag: &'static str,
    summary: &'static str,
    parts: Vec<Part>,
    access: Access,
}

/// The schema of a type; those that it needs go to the list.
type SchemaOf = fn(&mut Schemas) -> RefOr<Schema>;

enum Part {
    Takes(SchemaOf),
    Gives(u16, &'static str, SchemaOf),
    Lists(&'static str, SchemaOf),
    Paged,
    Query(&'static str, &'static str),
    Empty(&'static str),
    Streams(&'static str, SchemaOf),
    Document(&'static str),
    CanFail(&'static [FaultKind]),
}

/// What a call needs.
#[derive(PartialEq, Eq)]
enum Access {
    /// The token, and a node that is set up.
    Whole,
    /// The token.
    Token,
    /// Nothing.
    Open,
}

/// A call that is described as `summary`.
pub(crate) fn doc(tag: &'static str, summary: &'static str) -> Doc {
    Doc {
        tag,
        summary,
        parts: Vec::new(),
        access: Access::Whole,
    }
}

fn schema_of<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(T::name()).into()
}

impl Doc {
    fn and(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// It takes a body.
    pub(crate) fn takes<T: ToSchema>(self) -> Self {
        self.and(Part::Takes(schema_of::<T>))
    }

    /// It answers with an object.
    pub(crate) fn gives<T: ToSchema>(self, status: u16, what: &'static str) -> Self {
        self.and(Part::Gives(status, what, schema_of::<T>))
    }

    /// It answers with a list, a page at a time.
    pub(crate) fn lists<T: ToSchema>(self, what: &'static str) -> Self {
        self.and(Part::Lists(what, schema_of::<T>))
    }

    /// The list can be asked for in pages.
    pub(crate) fn paged(self) -> Self {
        self.and(Part::Paged)
    }

    /// It takes a value in its query.
    pub(crate) fn query(self, name: &'static str, what: &'static str) -> Self {
        self.and(Part::Query(name, what))
    }

    /// It answers with nothing.
    pub(crate) fn empty(self, what: &'static str) -> Self {
        self.and(Part::Empty(what))
    }

    /// It answers with a stream of server-sent events.
    pub(crate) fn streams<T: ToSchema>(self, what: &'static str) -> Self {
        self.and(Part::Streams(what, schema_of::<T>))
    }

    /// It answers with some JSON.
    pub(crate) fn document(self, what: &'static str) -> Self {
        self.and(Part::Document(what))
    }

    /// Kinds of faults that are its own; those that every call has are added.
    pub(crate) fn can_fail(self, kinds: &'static [FaultKind]) -> Self {
        self.and(Part::CanFail(kinds))
    }

    /// It needs no token and works before set-up.
    pub(crate) fn needs_no_token(mut self) -> Self {
        self.access = Access::Open;
        self
    }

    /// It works before set-up.
    pub(crate) fn needs_no_set_up(mut self) -> Self {
        self.access = Access::Token;
        self
    }

    fn describe(self, method: &HttpMethod, path: &str, schemas: &mut Schemas) -> Operation {
        let operation = OperationBuilder::new()
            .tag(self.tag)
            .summary(Some(self.summary));
        let mut described = Described {
            operation,
            faults: Vec::new(),
            schemas,
        };
        for part in self.parts {
            described.add(part);
        }
        described.finish(method, path, &self.access)
    }
}

/// The description of one call while it is made.
struct Described<'a> {
    operation: OperationBuilder,
    faults: Vec<FaultKind>,
    schemas: &'a mut Schemas,
}

impl Described<'_> {
    fn add(&mut self, part: Part) {
        match part {
            Part::Takes(schema) => self.takes(schema),
            Part::Gives(status, what, schema) => {
                let schema = schema(self.schemas);
                self.answer(status, what, "application/json", schema);
            }
            Part::Lists(what, schema) => self.lists(what, schema),
            Part::Paged => {
                let limit =
                    format!("Items at most, 1 to {PAGE_ITEMS_MAX}; {PAGE_ITEMS} by default.");
                self.query("limit", &limit);
                self.query("cursor", "Where to start: `next` of the page before.");
                self.faults.push(FaultKind::Invalid);
            }
            Part::Query(name, what) => self.query(name, what),
            Part::Empty(what) => {
                let response = ResponseBuilder::new().description(what).build();
                self.change(|operation| operation.response("204", response));
            }
            Part::Streams(what, schema) => {
                schema(self.schemas);
                self.answer(200, what, "text/event-stream", String::schema());
            }
            Part::Document(what) => {
                let object = Schema::from(ObjectBuilder::new().build());
                self.answer(200, what, "application/json", object.into());
            }
            Part::CanFail(kinds) => self.faults.extend(kinds),
        }
    }

    fn change(&mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) {
        self.operation = change(std::mem::take(&mut self.operation));
    }

    fn takes(&mut self, schema: SchemaOf) {
        let content = ContentBuilder::new()
            .schema(Some(schema(self.schemas)))
            .build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::False))
            .build();
        self.change(|operation| operation.request_body(Some(body)));
        self.faults.extend([
            FaultKind::Malformed,
            FaultKind::TooLarge,
            FaultKind::UnsupportedMediaType,
            FaultKind::Invalid,
        ]);
    }

    fn lists(&mut self, what: &str, schema: SchemaOf) {
        let item = schema(self.schemas);
        let next = ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::from_iter([
                Type::String,
                Type::Null,
            ]))
            .description(Some("The cursor of the next page, null at the end."));
        let list = ObjectBuilder::new()
            .property(
                "items",
                utoipa::openapi::schema::ArrayBuilder::new().items(item),
            )
            .property("next", next)
            .required("items")
            .required("next");
        let list = Schema::from(list.build());
        self.answer(200, what, "application/json", list.into());
    }

    fn query(&mut self, name: &str, what: &str) {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(what))
            .schema(Some(String::schema()));
        self.change(|operation| operation.parameter(parameter));
    }

    fn answer(&mut self, status: u16, what: &str, media: &str, schema: RefOr<Schema>) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description(what)
            .content(media, content)
            .build();
        self.change(|operation| operation.response(status.to_string(), response));
    }

    fn finish(mut self, method: &HttpMethod, path: &str, access: &Access) -> Operation {
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend([FaultKind::ForeignHost, FaultKind::Internal]);
        match access {
            Access::Whole => faults.extend([
                FaultKind::Unauthorized,
                FaultKind::ForeignOrigin,
                FaultKind::NotSetUp,
            ]),
            Access::Token => faults.extend([FaultKind::Unauthorized, FaultKind::ForeignOrigin]),
            Access::Open => {
                self.change(|operation| operation.security(SecurityRequirement::default()));
            }
        }
        let mut operation = self
            .operation
            .operation_id(Some(operation_id(method, path)));
        for name in path
            .split('{')
            .skip(1)
            .filter_map(|part| part.split('}').next())
        {
            faults.push(FaultKind::NotFound);
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(String::schema())),
            );
        }
        let statuses: std::collections::BTreeSet<_> =
            faults.iter().map(|kind| kind.status().as_u16()).collect();
        for status in statuses {
            let names: Vec<_> = FaultKind::ALL
                .into_iter()
                .filter(|kind| faults.contains(kind) && kind.status().as_u16() == status)
                .map(|kind| format!("`{}`", type_uri(kind)))
                .collect();
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(PROBLEM)))
                .build();
            let response = ResponseBuilder::new()
                .description(names.join(", "))
                .content("application/problem+json", content)
                .build();
            operation = operation.response(status.to_string(), response);
        }
        operation.build()
    }
}

fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "get",
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        HttpMethod::Patch => "patch",
        HttpMethod::Options => "options",
        HttpMethod::Head => "head",
        HttpMethod::Trace => "trace",
    }
}

/// `get /forums/{forum}/threads` gives `get_forums_by_forum_threads`.
fn operation_id(method: &HttpMethod, path: &str) -> String {
    let words: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_prefix('{') {
            Some(name) => format!("by_{}", name.trim_end_matches('}')),
            None => part.replace(['-', '.'], "_"),
        })
        .collect();
    format!("{}_{}", method_name(method), words.join("_"))
}

/// A router that grows together with its description, where somebody wants that.
pub(crate) struct Routes {
    router: Router<Arc<App>>,
    described: Option<(Paths, Schemas)>,
}

impl Routes {
    /// To answer calls.
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            described: None,
        }
    }

    /// To describe them.
    pub(crate) fn described() -> Self {
        let schemas = vec![(Problem::name().into_owned(), Problem::schema())];
        Self {
            router: Router::new(),
            described: Some((Paths::new(), schemas)),
        }
    }

    pub(crate) fn get<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        self.add(HttpMethod::Get, MethodFilter::GET, path, handler, doc)
    }

    pub(crate) fn post<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        self.add(HttpMethod::Post, MethodFilter::POST, path, handler, doc)
    }

    pub(crate) fn put<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        self.add(HttpMethod::Put, MethodFilter::PUT, path, handler, doc)
    }

    pub(crate) fn patch<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        self.add(HttpMethod::Patch, MethodFilter::PATCH, path, handler, doc)
    }

    pub(crate) fn delete<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        self.add(HttpMethod::Delete, MethodFilter::DELETE, path, handler, doc)
    }

    fn add<H: Handler<T, Arc<App>>, T: 'static>(
        mut self,
        method: HttpMethod,
        filter: MethodFilter,
        path: &str,
        handler: H,
        doc: Doc,
    ) -> Self {
        if let Some((paths, schemas)) = &mut self.described {
            let operation = doc.describe(&method, path, schemas);
            let item = PathItem::new(method, operation);
            let at = paths.paths.entry(format!("{PREFIX}{path}"));
            at.or_default().merge_operations(item);
        }
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    /// The router.
    pub(crate) fn router(self) -> Router<Arc<App>> {
        self.router
    }

    /// The document that describes it.
    pub(crate) fn document(self) -> OpenApi {
        let (paths, mut schemas) = self.described.unwrap_or_default();
        Problem::schemas(&mut schemas);
        let mut components = Components::new();
        components.schemas = schemas.into_iter().collect();
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The text of the file `api-token` in the node's folder.",
            ))
            .build();
        components
            .security_schemes
            .insert(TOKEN.to_owned(), SecurityScheme::Http(scheme).into());
        let info = InfoBuilder::new()
            .title("Waymeet")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(DESCRIPTION))
            .license(Some(
                LicenseBuilder::new()
                    .name("MIT OR Apache-2.0")
                    .identifier(Some("MIT OR Apache-2.0"))
                    .build(),
            ));
        OpenApiBuilder::new()
            .info(info.build())
            .paths(paths)
            .components(Some(components))
            .security(Some([SecurityRequirement::new(
                TOKEN,
                Vec::<String>::new(),
            )]))
            .build()
    }
}

const DESCRIPTION: &str = "Everything that the dashboard can do. Send the token of the file `api-token` as \
`Authorization: Bearer TOKEN`. Ids are texts that are safe in a URL. Times end in `_ms` and count milliseconds since 1970 (UTC). \
Lists come in pages: pass `next` as `cursor`. Creating answers 201 with the whole object, which is on disk by then. \
Errors are problem documents (RFC 9457). Unknown fields in bodies are refused.";
