//! The mesh over real sockets and real certificates: links come up and heal, and whoever may not come in stays out,
//! for the reason that security demands.

mod mesh {
    mod certificates;
    mod forge;
    mod frames;
    #[path = "../shared/gullible.rs"]
    mod gullible;
    mod https;
    mod intruder;
    mod links;
    mod log;
    mod places;
    mod servers;
    mod world;
}
