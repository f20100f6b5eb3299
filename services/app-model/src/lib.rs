//! What functions exist, how they are set, and which routes lead to them: from Cargo
//! metadata, with cargo-lambda's own keys.

mod command_keys;
mod function;
mod model;
mod router_keys;
mod routes;
mod section;
mod settings;

pub use function::{
    CargoTarget, CommandSource, Function, FunctionName, FunctionSettings, FunctionSource,
    InvalidFunctionName,
};
pub use model::AppModel;
pub use routes::{NoRoute, Route, RouteDeclaration, RouteError, RouteTable};
