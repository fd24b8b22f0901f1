// Package router is the front door: it takes events over HTTP and has them in
// the log before it replies.
//
// A Router is an http.Handler; a Server runs one on a listener with the
// timeouts and bounds that a public endpoint needs. The way of a request is one
// function, ingest in pipeline.go, that reads from top to bottom:
//
//	key and body → rate limit → auth → decode and validate → privacy → dedupe → append → reply
//
// Each step passes the request on or ends it with a refusal: a reason, a field
// and a rule, counted once (Tally) and shown to operators (Drops, WatchDrops).
// The sender is told nothing: whatever happened, the reply is the same, byte for
// byte, and so is what happens to the connection. Only senders whose key is
// marked strict learn the truth. WIRE.md beside this file specifies what goes
// over the wire.
//
// One event that is refused does not take its neighbours along. What is stored
// is byte for byte what was sent.
package router
