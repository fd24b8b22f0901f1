// Package postgrestest runs a real PostgreSQL server for tests, in a folder and
// on a port of its own, and breaks it on demand.
//
//	server := postgrestest.Start(t)
//	conn, err := pgx.Connect(ctx, server.DSN())
//	server.Kill()    // crash: clients are cut off, nothing is written out
//	server.Restart() // the same data, address and DSN
//
// The server ends with the test, and also when the test's process dies. Where
// the binaries are missing the test is skipped, except under CI, where a
// missing service is a failure.
package postgrestest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	account   = "postgres" // the system account that the server runs as when the test is root
	superuser = "forebay"
	password  = "not-a-secret"
	// startTimeout allows for a crash recovery on a busy machine.
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// Server is one PostgreSQL server. Its methods are called from the test's
// goroutine and fail the test when they cannot do what they say.
type Server struct {
	tb      testing.TB
	bin     string // folder of the binaries
	dir     string // data directory, socket and log live here
	port    int
	process *exec.Cmd // nil while stopped
	exited  chan struct{}
	guard   *exec.Cmd
}

// Start creates a database cluster, starts its server and returns when it takes
// connections. The server is stopped and its files removed when the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	bin, err := binaries()
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
	// Not tb.TempDir: its parent is closed to the account that the server runs as.
	dir, err := os.MkdirTemp("", "forebay-postgres-")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, bin: bin, dir: dir}
	tb.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove PostgreSQL's folder: %v", err)
		}
	})
	s.createCluster()
	s.port = freePort(tb)
	s.Restart()
	return s
}

// DSN is the connection string of the superuser, password included. It stays
// the same over Kill, Stop and Restart.
func (s *Server) DSN() string {
	return s.DSNAt(s.Addr())
}

// DSNAt is DSN with another address, such as that of a proxy in front of the server.
func (s *Server) DSNAt(addr string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", superuser, password, addr)
}

// Addr is the host and port that the server listens on.
func (s *Server) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Password is the secret within DSN, for tests that look for leaks.
func (s *Server) Password() string { return password }

// PID is the number of the server's first process, 0 if it does not run: for a
// test that stops it with signals.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// Kill ends the server at once: clients are cut off and the next start has to
// recover. It returns when the process is gone; without a process it does nothing.
func (s *Server) Kill() {
	s.tb.Helper()
	// SIGQUIT is PostgreSQL's immediate shutdown: no checkpoint, as in a crash, but its
	// children are gone when it returns. SIGKILL would leave them holding the data directory.
	s.end(syscall.SIGQUIT)
}

// Stop shuts the server down in order, cutting off its clients. It returns when
// the process is gone; without a process it does nothing.
func (s *Server) Stop() {
	s.tb.Helper()
	s.end(syscall.SIGINT)
}

// Restart starts the server again on the same data and address, stopping it
// first if it runs, and returns when it takes connections.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	logFile, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer logFile.Close()
	cmd := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir,
		"-c", "fsync=off") // the machine does not crash in these tests, only the server
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		s.tb.Fatalf("start PostgreSQL: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the exit status of a server that was told to go says nothing
	}()
	s.process, s.exited = cmd, exited
	s.startGuard()
	s.awaitReady()
}

// Standby has a stopped server start as a standby without a primary.
func (s *Server) Standby() {
	s.tb.Helper()
	name := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) createCluster() {
	s.tb.Helper()
	if err := os.Chmod(s.dir, 0o755); err != nil {
		s.tb.Fatal(err)
	}
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		s.tb.Fatal(err)
	}
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o644); err != nil {
		s.tb.Fatal(err)
	}
	if id, err := serverAccount(); err != nil {
		s.tb.Fatal(err)
	} else if id != nil {
		for _, path := range []string{s.dir, s.data()} {
			if err := os.Chown(path, int(id.Uid), int(id.Gid)); err != nil {
				s.tb.Fatal(err)
			}
		}
	}
	cmd := s.command("initdb", "-D", s.data(), "-U", superuser, "--pwfile", secret,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.tb.Fatalf("initdb: %v\n%s", err, out)
	}
}

// command prepares one of PostgreSQL's programs, as an ordinary account when the
// test runs as root: they refuse to work for root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	s.tb.Helper()
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	id, err := serverAccount()
	if err != nil {
		s.tb.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	return cmd
}

// startGuard runs a shell that ends the server when this process goes away
// without cleaning up, as it does when a test times out: its standard input
// closes then.
func (s *Server) startGuard() {
	s.tb.Helper()
	guard := exec.Command("sh", "-c", `read -r _ || kill -QUIT "$0"`, strconv.Itoa(s.process.Process.Pid))
	if _, err := guard.StdinPipe(); err != nil {
		s.tb.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.guard = guard
}

// awaitReady polls the status that the server keeps in its pid file.
func (s *Server) awaitReady() {
	s.tb.Helper()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.exited:
			s.process = nil
			s.tb.Fatalf("PostgreSQL ended while starting:\n%s", s.log())
		case <-deadline.C:
			s.tb.Fatalf("PostgreSQL is not ready after %v:\n%s", startTimeout, s.log())
		case <-tick.C:
		}
		if s.ready() {
			return
		}
	}
}

// ready tells whether the pid file is of the running process and says "ready":
// one left by a killed server names another process.
func (s *Server) ready() bool {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	const pidLine, statusLine = 0, 7
	lines := strings.Split(string(text), "\n")
	return len(lines) > statusLine &&
		lines[pidLine] == strconv.Itoa(s.process.Process.Pid) &&
		strings.TrimSpace(lines[statusLine]) == "ready"
}

func (s *Server) end(signal os.Signal) {
	s.tb.Helper()
	if s.process == nil {
		return
	}
	if s.guard != nil {
		// First the guard, so that it can never signal a process id that was given away again.
		_ = s.guard.Process.Kill()
		_ = s.guard.Wait()
		s.guard = nil
	}
	if err := s.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Errorf("signal PostgreSQL: %v", err)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.tb.Errorf("PostgreSQL ignores %v, killing it", signal)
		_ = s.process.Process.Kill()
		<-s.exited
	}
	s.process = nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// serverAccount is the identity to run PostgreSQL as; nil means the caller's own.
func serverAccount() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	entry, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root and the account %q is missing: %w", account, err)
	}
	uid, err := strconv.ParseUint(entry.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("uid of %q: %w", account, err)
	}
	gid, err := strconv.ParseUint(entry.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gid of %q: %w", account, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// binaries finds the folder of PostgreSQL's programs: where Debian puts them,
// or on the path.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("PostgreSQL's server is missing: install it (Debian: apt-get install postgresql-15)")
}

func freePort(tb testing.TB) int {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
