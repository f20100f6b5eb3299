//! What functions exist, how they are set, and which routes lead to them: from Cargo
//! metadata, with cargo-lambda's own keys.

mod api;
mod api_settings;
mod authorizer;
mod authorizer_settings;
mod command_keys;
mod declarations;
mod function;
mod layers;
mod model;
pub mod parity;
mod router_keys;
mod routes;
mod section;
mod settings;

pub use api::{
    Api, BinaryMediaTypes, Cors, FunctionUrl, HttpApi, LoadBalancer, PayloadFormat, Period, Quota,
    RestApi, RouteOptions, RouterKind, TransferMode, UsagePlan,
};
pub use authorizer::{
    Authorizer, IdentitySource, InvalidIdentitySource, JwtAuthorizer, Keys, RequestAuthorizer,
    TokenAuthorizer,
};
pub use declarations::{Declarations, InvalidDeclarations};
pub use function::{
    CargoTarget, CommandSource, Function, FunctionName, FunctionSettings, FunctionSource,
    InvalidFunctionName, LogFormat, RecursiveLoop,
};
pub use layers::{ExtensionFolder, Layers};
pub use model::{AppModel, Declared};
pub use parity::{Excess, Parity};
pub use routes::{DEFAULT_ROUTE, NoRoute, Route, RouteDeclaration, RouteError, RouteTable};
