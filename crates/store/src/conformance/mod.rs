//! What every store must do, as tests. Nothing here knows which store it talks to.
//!
//! A store's tests implement [`StoreFactory`] and call [`instantiate!`](crate::instantiate_conformance).

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;

pub mod fixtures;
pub mod licenses;
pub mod quota;

/// A place for one store. Each test gets a fresh one.
#[async_trait]
pub trait StoreFactory: Send + Sync + Sized + 'static {
    /// A place with nothing in it.
    async fn fresh() -> Self;

    /// Opens the store at this place. A test drops the store it had before it opens it again.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of each property, for one [`StoreFactory`].
#[macro_export]
macro_rules! instantiate_conformance {
    ($factory:ty) => {
        $crate::instantiate_conformance!($factory;
            licenses {
                a_license_is_found_by_its_id_and_by_each_of_its_keys,
            }
            quota {
                a_balance_is_leased_until_nothing_is_left,
            }
        );
    };
    ($factory:ty; $($module:ident { $($name:ident,)* })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::conformance::$module::$name::<$factory>().await;
                }
            )*
        })*
    };
}
