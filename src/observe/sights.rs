//! Looks for what gates ask of a cluster. Each kind is read once, and no object is kept.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    cluster::{Cluster, ClusterError},
    inventory::{Answering, Ask, Fact, Place, Sight},
};

pub(super) async fn sights(cluster: &Cluster, asks: impl IntoIterator<Item = Ask>) -> Result<Vec<Sight>, ClusterError> {
    let mut places: BTreeMap<Place, Vec<Ask>> = BTreeMap::new();
    for ask in asks {
        places.entry(ask.place()).or_default().push(ask);
    }
    let mut all = Vec::new();
    for (place, asks) in places {
        all.extend(at(cluster, &place, asks).await?);
    }
    Ok(all)
}

async fn at(cluster: &Cluster, place: &Place, asks: Vec<Ask>) -> Result<Vec<Sight>, ClusterError> {
    let answering = RefCell::new(asks.iter().cloned().map(Answering::of).collect::<Vec<_>>());
    let see = |body| answering.borrow_mut().iter_mut().for_each(|one| one.see(&body));
    let read = match place {
        Place::All(kind) => cluster.list_as(*kind, None, see).await.map(drop),
        Place::One(object) if cluster.serves(object.kind) => {
            cluster.get_raw(object).await.map(|body| body.into_iter().for_each(see))
        }
        Place::One(_) => Ok(()),
    };
    match read {
        Ok(()) => Ok(answering.into_inner().into_iter().map(Answering::end).collect()),
        Err(error @ ClusterError::Forbidden { .. }) => {
            let found = Fact::Unknown { why: error.to_string() };
            Ok(asks.into_iter().map(|asked| Sight { asked, found: found.clone() }).collect())
        }
        Err(other) => Err(other),
    }
}
