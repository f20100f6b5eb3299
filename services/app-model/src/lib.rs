//! What functions exist, how they are set, and which routes lead to them: from Cargo
//! metadata, with cargo-lambda's own keys.

mod function;
mod routes;

pub use function::{
    CargoTarget, CommandSource, Function, FunctionName, FunctionSettings, FunctionSource,
    InvalidFunctionName,
};
pub use routes::{NoRoute, Route, RouteDeclaration, RouteError, RouteTable};
