// Command gateway puts an HTTP interface in front of libchdb.so, the modern ClickHouse engine as a library, so that
// clickhouse-go's HTTP protocol can be tested where no current ClickHouse server can be installed.
//
// It speaks what that client and a plain `POST` of SQL need: statements, INSERT with data in any format, settings and
// parameters in the URL, the native compression frames, and exceptions with their codes. It has no users, no
// asynchronous inserts, and a statement runs to its end whatever becomes of its request. It is meant to be killed:
// there is no orderly stop.
//
// Only tests use it. Nothing of the product imports it or the library.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func run() error {
	libraryPath := flag.String("library", "", "path of libchdb.so")
	dataPath := flag.String("path", "", "directory of the engine's data; created if absent")
	listen := flag.String("listen", "127.0.0.1:0", "address to serve HTTP on")
	configFile := flag.String("config", "", "the engine's configuration file, for its users")
	sessions := flag.Int("sessions", 8, "statements that run at the same time; more wait")
	flag.Parse()

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	lib, err := loadLibrary(*libraryPath)
	if err != nil {
		return err
	}
	lib.configFile = *configFile
	pool, err := newPool(lib, *dataPath, *sessions)
	if err != nil {
		return err
	}
	handler, err := newHandler(pool)
	if err != nil {
		return err
	}

	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}
