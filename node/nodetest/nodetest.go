// Package nodetest starts the real servers that a whole node talks to, for tests: ClickHouse in both its forms and
// PostgreSQL, each in a temporary folder, on free ports of 127.0.0.1, ended with the test.
//
// A test whose server is not installed skips and names what `make deps` installs; with the environment variable CI
// set it fails instead.
package nodetest

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"forebay/router/auth/postgres/postgrestest"
	"forebay/shipper/clickhouse/clickhousetest"
)

// StartPostgres starts an empty PostgreSQL server.
func StartPostgres(tb testing.TB) *postgrestest.Server {
	tb.Helper()
	return postgrestest.Start(tb)
}

// StartClickHouse starts Debian's ClickHouse server: the native protocol, without deduplication tokens or TTL.
func StartClickHouse(tb testing.TB) *clickhousetest.Server {
	tb.Helper()
	return clickhousetest.StartServer(tb)
}

// StartClickHouseEngine starts the current ClickHouse engine: deduplication tokens and TTL, over HTTP only.
func StartClickHouseEngine(tb testing.TB) *clickhousetest.Engine {
	tb.Helper()
	return clickhousetest.StartEngine(tb)
}

// FreeAddr returns a host:port of 127.0.0.1 that nobody listens on. The system never gives the port to an outgoing
// connection, so a node that is killed finds it free when it comes back.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	port, err := clickhousetest.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Eventually polls the condition until it holds and fails the test at once if it does not within the limit, saying what
// was waited for. The limit is how long a broken program is given; a working one returns as soon as it is done.
func Eventually(tb testing.TB, limit time.Duration, condition func() bool, format string, args ...any) {
	tb.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-timer.C:
			if condition() {
				return
			}
			tb.Fatalf("not within %v: %s", limit, fmt.Sprintf(format, args...))
		}
	}
}
