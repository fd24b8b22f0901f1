// Package admin is how operators reach a node: an HTTP API under /admin/v1 on
// a listener of its own, health and metrics beside it, and the Go client that
// the command line uses.
//
// The API only translates: what a verb does is in the cursors and the log.
// Each handler is a function from a request to a value or an error; one
// decorator turns either into JSON. The same handler serves a stopped node:
// the command line then opens the data directory itself and calls the handler
// in its own process (see [InProcess]).
//
// The console is the page at / of the same listener: static files in the
// folder console, which call the API as any client does.
//
// Without a token the API answers on loopback and Unix sockets only, and to
// no page from another origin: requests that carry a foreign Origin, or a
// Host that is neither an address nor localhost, are refused.
package admin
