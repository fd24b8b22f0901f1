package router

import "forebay/router/event"

// Rules of requests that are dropped before they are decoded. Those of the
// decoder stand in package event, those of privacy are its detectors.
const (
	ruleWireBytes  event.Rule = "wire_bytes"         // the body is over the wire cap
	ruleRead       event.Rule = "read"               // the body broke off, or came too slowly
	ruleMediaType  event.Rule = "media_type"         // an unknown Content-Type
	ruleEncoding   event.Rule = "encoding"           // an unknown Content-Encoding
	ruleCorrupt    event.Rule = "corrupt"            // the body does not decompress
	ruleKeyMissing event.Rule = "key_missing"        // no key in the request
	ruleKeyForm    event.Rule = "key_malformed"      // a text that cannot be a key
	ruleKeyUnknown event.Rule = "key_unknown"        // no such key
	ruleRevoked    event.Rule = "key_revoked"        // the operator has withdrawn the key
	ruleExpired    event.Rule = "key_expired"        // the key's time is over
	ruleOrigin     event.Rule = "origin"             // the key may not be used by this page
	ruleBytes      event.Rule = "in_flight_bytes"    // no room for the body, or for the record of its events
	ruleRequests   event.Rule = "in_flight_requests" // too many requests are being handled
	ruleWaiting    event.Rule = "waiting_requests"   // too many requests wait for their reply
	ruleInternal   event.Rule = "internal"           // a bug; the node's own log says more
)

// Rules of events that are not stored.
const (
	ruleBacklog    event.Rule = "append_backlog"  // too many appends are waiting for the disk
	ruleLog        event.Rule = "log_unavailable" // the log takes no appends
	ruleEntryBytes event.Rule = "entry_bytes"     // more than the log takes at once
	ruleHolder     event.Rule = "held_and_failed" // the request that held the idempotency key failed
)
