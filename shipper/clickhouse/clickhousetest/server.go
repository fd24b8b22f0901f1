// Package clickhousetest starts real ClickHouse engines for tests, each in a temporary folder on free loopback ports,
// and ends them with the test.
//
//   - StartServer runs the `clickhouse-server` of Debian (18.16): a real server for the native protocol, for kills and
//     reconnects. It knows no TTL, no DateTime64, no codecs and no deduplication tokens.
//   - StartEngine runs the current engine, which is published as a library, behind a small HTTP gateway: the full
//     schema, tokens and TTL, over clickhouse-go's HTTP protocol only.
//
// Nothing here has both the native protocol and tokens. Where a program is missing the test skips and names it; with
// the environment variable CI set it fails instead. Outside tests use LaunchServer and LaunchEngine.
package clickhousetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
)

// Users of a Server besides "default", which has no password and may do everything.
const (
	PasswordUser = "guarded"  // needs Password
	Password     = "opensaga" // of PasswordUser
	ReadOnlyUser = "reader"   // no password; may only read
	NarrowUser   = "narrow"   // no password; sees the database "default" alone
)

// Server is Debian's ClickHouse server, 18.16, serving the native protocol and HTTP.
type Server struct {
	instance
	addr string
}

// Addr is the host:port of the native protocol. It stays the same across Restart.
func (s *Server) Addr() string { return s.addr }

// Stop ends the server in its orderly way and returns when it is gone.
func (s *Server) Stop() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.end(syscall.SIGTERM)
}

// StartServer starts a server that ends with the test.
func StartServer(tb testing.TB) *Server {
	tb.Helper()
	server, err := LaunchServer(tb.TempDir())
	if err != nil {
		launched(tb, nil, err)
	}
	launched(tb, &server.instance, nil)
	return server
}

// LaunchServer starts a server whose files all lie in dir and returns when it answers. The caller ends it with Kill or
// Stop. The error is ErrMissing if clickhouse-server is not installed.
func LaunchServer(dir string) (*Server, error) {
	program, err := serverProgram()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	httpAddr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.xml")
	if err := writeServerFiles(dir, httpAddr, addr); err != nil {
		return nil, fmt.Errorf("write the server's configuration: %w", err)
	}
	server := &Server{addr: addr, instance: instance{dir: dir, httpAddr: httpAddr}}
	server.command = func() *exec.Cmd {
		command := exec.Command(program, "--config-file="+config)
		command.Dir = dir
		command.Env = append(os.Environ(), "TZ=UTC")
		return command
	}
	if err := server.start(); err != nil {
		return nil, err
	}
	return server, nil
}

// serverProgram finds clickhouse-server; Debian puts it where an ordinary user's PATH does not look.
func serverProgram() (string, error) {
	if path, err := exec.LookPath("clickhouse-server"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/clickhouse-server"
	if _, err := os.Stat(debian); err == nil {
		return debian, nil
	}
	return "", fmt.Errorf("clickhouse-server (Debian package clickhouse-server) is %w", ErrMissing)
}

// writeServerFiles lays out dir: configuration, users, and the folders the server wants to find.
func writeServerFiles(dir, httpAddr, nativeAddr string) error {
	for _, folder := range []string{"data", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	_, httpPort, err := net.SplitHostPort(httpAddr)
	if err != nil {
		return err
	}
	_, nativePort, err := net.SplitHostPort(nativeAddr)
	if err != nil {
		return err
	}
	values := map[string]string{
		"Dir": dir, "HTTPPort": httpPort, "NativePort": nativePort,
		"PasswordUser": PasswordUser, "Password": Password, "ReadOnlyUser": ReadOnlyUser, "NarrowUser": NarrowUser,
	}
	for name, text := range map[string]string{"config.xml": configXML, "users.xml": usersXML} {
		var out strings.Builder
		if err := template.Must(template.New(name).Parse(text)).Execute(&out, values); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(out.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// inCI says whether a missing program is a failure.
func inCI() bool { return os.Getenv("CI") != "" }

const configXML = `<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{{.HTTPPort}}</http_port>
  <tcp_port>{{.NativePort}}</tcp_port>
  <max_connections>256</max_connections>
  <shutdown_wait_unfinished>1</shutdown_wait_unfinished>
  <mark_cache_size>67108864</mark_cache_size>
  <path>{{.Dir}}/data/</path>
  <tmp_path>{{.Dir}}/tmp/</tmp_path>
  <users_config>{{.Dir}}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
</yandex>
`

const usersXML = `<?xml version="1.0"?>
<yandex>
  <profiles>
    <default><max_memory_usage>4000000000</max_memory_usage><poll_interval>1</poll_interval></default>
    <readonly><readonly>1</readonly></readonly>
  </profiles>
  <quotas><default></default></quotas>
  <users>
    <default>
      <password></password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota>
    </default>
    <{{.PasswordUser}}>
      <password>{{.Password}}</password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota>
    </{{.PasswordUser}}>
    <{{.ReadOnlyUser}}>
      <password></password><networks><ip>127.0.0.1</ip></networks>
      <profile>readonly</profile><quota>default</quota>
    </{{.ReadOnlyUser}}>
    <{{.NarrowUser}}>
      <password></password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <allow_databases><database>default</database></allow_databases>
    </{{.NarrowUser}}>
  </users>
</yandex>
`
