//! What connects the rooms of several boxes through a broker that speaks MQTT.
//!
//! | question | file |
//! |---|---|
//! | how packets of MQTT are read and written | `mqtt` |
//! | which topics boxes use | `topic` |
//! | what boxes say to each other | `payload` |

pub mod mqtt;
pub mod payload;
pub mod topic;
