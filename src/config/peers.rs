//! `[[admin.peers]]`: the other nodes of the line, whose operator planes may know what this one does not.

use super::layers::{Layers, name, place_of, set, twice};
use super::receivers::http_url_or;
use crate::limits::PEERS_MAX;
use crate::place::ConfigError;

/// A node that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNode {
    pub name: String,
    /// Of its operator plane: `http://host:port`.
    pub url: String,
}

impl Layers {
    /// All but the node itself, so that one list serves every node.
    pub fn peers(&self, own: &str) -> Result<Vec<PeerNode>, ConfigError> {
        let tables = self.tables(|layer| &layer.admin.peers);
        if let Some((text, beyond)) = tables.get(PEERS_MAX) {
            let what = format!("there are more than {PEERS_MAX} peers");
            return Err(ConfigError::new(&place_of(text, beyond), what));
        }
        let mut peers: Vec<PeerNode> = Vec::new();
        for (text, table) in tables {
            let peer = table.get_ref();
            let name = set(text, &peer.name).map(name)?;
            let url = set(text, &peer.url).map(|url| plane_url(&url))?;
            if peers.iter().any(|other| other.name == name) {
                return Err(twice(text, &peer.name));
            }
            peers.push(PeerNode { name, url });
        }
        peers.retain(|peer| peer.name != own);
        Ok(peers)
    }
}

/// The URL of an operator plane, without a slash at its end.
fn plane_url(text: &str) -> Result<String, String> {
    const FORM: &str = "this is not the URL of an operator plane, of the form http://10.0.0.2:9090";
    let url = http_url_or(text, (FORM, "give the URL without user and password"))?;
    if url.scheme_str() != Some("http") {
        return Err("TLS is not spoken between nodes; use http:// on a private network".into());
    }
    let is_bare =
        url.path_and_query().is_none_or(|rest| matches!(rest.as_str(), "" | "/")) && !text.contains('#');
    let (Some(authority), true) = (url.authority(), is_bare) else { return Err(FORM.into()) };
    // Without one it would be port 80, where no node listens by itself.
    if url.port_u16().is_none_or(|port| port == 0) {
        return Err(FORM.into());
    }
    Ok(format!("http://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_plane_with_its_port() {
        for good in ["http://10.0.0.2:9090", "http://proc-1:1", "http://[::1]:9090"] {
            assert_eq!(plane_url(good), Ok(good.to_owned()));
        }
        assert_eq!(plane_url("http://10.0.0.2:9090/"), Ok("http://10.0.0.2:9090".into()));
        let wrong = [
            "",
            "10.0.0.2:9090",
            "http://10.0.0.2",
            "http://10.0.0.2:0",
            "http://10.0.0.2:9090/v1",
            "http://a:1?x",
            "http://a:1/#x",
            "http://root:x@a:1",
            "https://a:1",
            "ftp://a:1",
        ];
        for bad in wrong {
            assert!(plane_url(bad).is_err(), "{bad}");
        }
    }
}
