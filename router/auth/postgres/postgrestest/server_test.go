package postgrestest_test

import (
	"net"
	"strings"
	"testing"

	"forebay/router/auth/postgres/postgrestest"
)

func TestServerIsKilledAndComesBackAtTheSameAddress(t *testing.T) {
	server := postgrestest.Start(t)
	addr := server.Addr()
	for _, end := range []func(){server.Kill, server.Stop} {
		dial(t, addr)
		end()
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Fatal("the server still listens after it was ended")
		}
		server.Restart()
	}
	dial(t, addr)
	if !strings.Contains(server.DSN(), addr) || !strings.Contains(server.DSN(), server.Password()) {
		t.Fatalf("DSN %q lacks the address or the password", server.DSN())
	}
}

func dial(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
