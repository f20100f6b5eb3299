//! Lets functions reach services by the host names they have in a compose network.
