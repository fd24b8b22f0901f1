// Package auth decides who may send: it takes the API key out of a request and
// looks it up in a directory that is held in memory.
//
// A key is a secret text that a sender shows with each request. Forebay keeps
// only its SHA-256, the Digest. A request goes through three steps, none of
// which waits for anything:
//
//	text, found := auth.FromRequest(r)        // where the key stands in a request
//	digest, err := auth.ParseKey(text)        // its form, and its digest
//	key, known := directory.Lookup(digest)    // what the operator said about it
//	state := key.State(time.Now(), origin)    // active, revoked, expired, …
//
// The Directory is filled by a Source: a file (package auth/file) or PostgreSQL
// (package auth/postgres). A source that loses its upstream leaves the directory
// as it is, and one that loses most of its keys at once is doubted (Doubt). A
// Keeper carries the keys over a restart, by way of a Cache. A Denial withdraws a
// key on one node, whatever the source says.
package auth
