//! `spin:key-value` as guests import it, with the errors and limits of Spin.

use std::{collections::BTreeMap, sync::Arc};

use wasmtime::component::{
    Accessor, ComponentType, FutureReader, Lift, Linker, Lower, Resource, ResourceType,
    StreamReader,
};

use super::{
    instance::HostState,
    key_value::{Store, StoreFailed},
};

/// Stores one instance may have open, as in Spin.
const OPEN_STORES: usize = 256;

/// The stores granted to a component, by label.
pub(super) type GrantedStores = Arc<BTreeMap<String, Store>>;

/// The stores that one instance has open.
pub(super) struct GuestStores {
    granted: GrantedStores,
    open: usize,
}

impl GuestStores {
    pub(super) fn new(granted: GrantedStores) -> Self {
        Self { granted, open: 0 }
    }
}

/// `spin:key-value/key-value.error`, in its WIT order. A label that was granted and does not exist
/// is refused before anything is served, in Spin too, so no guest ever meets `no-such-store`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum KeyValueError {
    #[component(name = "store-table-full")]
    StoreTableFull,
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<StoreFailed> for KeyValueError {
    fn from(StoreFailed(text): StoreFailed) -> Self {
        Self::Other(text)
    }
}

type Answer<T> = Result<T, KeyValueError>;

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("spin:key-value/key-value@3.0.0")?;
    interface.resource(
        "store",
        ResourceType::host::<Store>(),
        |mut context, rep| {
            let state = context.data_mut();
            state.table.delete(Resource::<Store>::new_own(rep))?;
            state.stores.open = state.stores.open.saturating_sub(1);
            Ok(())
        },
    )?;
    interface.func_wrap_concurrent("[static]store.open", |accessor, (label,): (String,)| {
        Box::pin(async move { Ok((open(accessor, &label).await?,)) })
    })?;
    interface.func_wrap_concurrent(
        "[method]store.get",
        |accessor, (store, key): (Resource<Store>, String)| {
            Box::pin(async move {
                let store = opened(accessor, &store)?;
                Ok((answer(store.get(&key).await),))
            })
        },
    )?;
    interface.func_wrap_concurrent(
        "[method]store.set",
        |accessor, (store, key, value): (Resource<Store>, String, Vec<u8>)| {
            Box::pin(async move {
                let store = opened(accessor, &store)?;
                Ok((answer(store.set(&key, value).await),))
            })
        },
    )?;
    interface.func_wrap_concurrent(
        "[method]store.delete",
        |accessor, (store, key): (Resource<Store>, String)| {
            Box::pin(async move {
                let store = opened(accessor, &store)?;
                Ok((answer(store.delete(&key).await),))
            })
        },
    )?;
    interface.func_wrap_concurrent(
        "[method]store.exists",
        |accessor, (store, key): (Resource<Store>, String)| {
            Box::pin(async move {
                let store = opened(accessor, &store)?;
                Ok((answer(store.exists(&key).await),))
            })
        },
    )?;
    interface.func_wrap_concurrent(
        "[method]store.get-keys",
        |accessor, (store,): (Resource<Store>,)| {
            Box::pin(async move {
                let (keys, end) = match answer(opened(accessor, &store)?.keys().await) {
                    Ok(keys) => (keys, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let streamed = accessor.with(|mut access| {
                    let keys = StreamReader::new(&mut access, keys)?;
                    let end = async { wasmtime::error::Ok::<Answer<()>>(end) };
                    wasmtime::error::Ok((keys, FutureReader::new(&mut access, end)?))
                })?;
                Ok((streamed,))
            })
        },
    )?;
    Ok(())
}

fn answer<T>(result: Result<T, StoreFailed>) -> Answer<T> {
    result.map_err(KeyValueError::from)
}

async fn open(
    accessor: &Accessor<HostState>,
    label: &str,
) -> wasmtime::Result<Answer<Resource<Store>>> {
    let granted = accessor.with(|mut access| access.data_mut().stores.granted.get(label).cloned());
    let Some(store) = granted else {
        return Ok(Err(KeyValueError::AccessDenied));
    };
    if let Err(failed) = store.open().await {
        return Ok(Err(failed.into()));
    }
    accessor.with(|mut access| {
        let state = access.data_mut();
        if state.stores.open >= OPEN_STORES {
            return Ok(Err(KeyValueError::StoreTableFull));
        }
        let handle = state.table.push(store)?;
        state.stores.open = state.stores.open.saturating_add(1);
        Ok(Ok(handle))
    })
}

/// The store of a guest's handle.
fn opened(accessor: &Accessor<HostState>, handle: &Resource<Store>) -> wasmtime::Result<Store> {
    Ok(accessor.with(|mut access| access.data_mut().table.get(handle).cloned())?)
}
