package clickhousetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// libraryPath is where `make deps` puts the engine, from the module's root.
const libraryPath = ".cache/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"

// Engine is the current ClickHouse engine behind the gateway, for clickhouse-go's HTTP protocol. It has no users, no
// asynchronous inserts, no query log, and a statement is never cancelled: it ends as if its client were still there.
type Engine struct {
	instance
	config string // its configuration file, see Grant
}

// Addr is the host:port of the HTTP interface. It stays the same across Restart.
func (e *Engine) Addr() string { return e.httpAddr }

// StartEngine starts an engine that ends with the test.
func StartEngine(tb testing.TB) *Engine {
	tb.Helper()
	engine, err := LaunchEngine(tb.TempDir())
	if err != nil {
		launched(tb, nil, err)
	}
	launched(tb, &engine.instance, nil)
	return engine
}

// LaunchEngine starts an engine whose files all lie in dir and returns when it answers. The caller ends it with Kill;
// it also ends with the calling process. The error is ErrMissing if the library is not installed. It must be called
// from within the module's tree, where it builds the gateway.
func LaunchEngine(dir string) (*Engine, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	library := filepath.Join(root, libraryPath)
	if _, err := os.Stat(library); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("libchdb.so (npm package @chdb/lib-linux-x64-gnu) is %w", ErrMissing)
	} else if err != nil {
		return nil, err
	}
	gateway, err := buildGateway()
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
	engine := &Engine{instance: instance{dir: dir, httpAddr: httpAddr}}
	engine.command = func() *exec.Cmd {
		command := exec.Command(gateway, "-library", library, "-path", filepath.Join(dir, "data"), "-listen", httpAddr)
		if engine.config != "" {
			command.Args = append(command.Args, "-config", engine.config)
		}
		command.Dir = dir
		command.Env = append(os.Environ(), "TZ=UTC")
		return command
	}
	if err := engine.start(); err != nil {
		return nil, err
	}
	return engine, nil
}

// Grant starts the engine anew with a default user, its only one, who may do
// what the statements grant ("GRANT … ON …") and nothing else; with none it may do everything again.
func (e *Engine) Grant(statements ...string) error {
	if err := e.Kill(); err != nil {
		return err
	}
	e.config = ""
	if len(statements) > 0 {
		e.config = filepath.Join(e.dir, "granted.xml")
		users := filepath.Join(e.dir, "granted-users.xml")
		queries := ""
		for _, s := range statements {
			queries += "<query>" + s + "</query>"
		}
		for path, text := range map[string]string{e.config: fmt.Sprintf(engineXML, users), users: fmt.Sprintf(engineUsersXML, queries)} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return e.Restart()
}

const engineXML = `<clickhouse><users_config>%s</users_config></clickhouse>
`

const engineUsersXML = `<clickhouse>
  <profiles><default></default></profiles>
  <users><default>
    <password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants>%s</grants>
  </default></users>
  <quotas><default></default></quotas>
</clickhouse>
`

// buildGateway builds the gateway's program once a process and returns its path. Without cgo, whatever the tests use:
// the race detector has nothing to say about a foreign library.
var buildGateway = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	temporary, err := os.CreateTemp(filepath.Join(root, ".cache"), "gateway-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(temporary.Name())
	if err := temporary.Close(); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", temporary.Name(), "forebay/shipper/clickhouse/clickhousetest/gateway")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w: %s", err, output)
	}
	// Test programs of several packages build at the same time; a rename never disturbs one that runs already.
	program := filepath.Join(root, ".cache", "gateway")
	return program, os.Rename(temporary.Name(), program)
})

// moduleRoot finds the directory of go.mod from the working directory up.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory: run from within the module")
		}
		dir = parent
	}
}
