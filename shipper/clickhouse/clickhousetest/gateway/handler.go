package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
)

// maxBodyBytes bounds a request; far more than any batch a test sends.
const maxBodyBytes = 1 << 30

// handshakeQuery is what clickhouse-go asks when it opens an HTTP connection.
const handshakeQuery = "SELECT displayName(), version(), revision(), timezone()"

// notSettings are URL parameters of the HTTP interface that are no settings of the engine.
var notSettings = []string{
	"query", "database", "default_format", "client_protocol_version", "query_id", "quota_key", "user", "password",
	"session_id", "compress", "decompress", "wait_end_of_query", "buffer_size",
}

var (
	insertWithFormat = regexp.MustCompile(`(?is)^\s*(INSERT\s.*?)\s+FORMAT\s+(\w+)\s*;?\s*$`)
	trailingFormat   = regexp.MustCompile(`(?is)^(.*\S)\s+FORMAT\s+(\w+)\s*;?\s*$`)
	exceptionCode    = regexp.MustCompile(`Code:\s*(\d+)`)
)

// handler serves the HTTP interface.
type handler struct {
	pool      *pool
	handshake []byte // the answer to handshakeQuery in Native format
}

func newHandler(p *pool) (*handler, error) {
	output, err := p.run(context.Background(), statement{query: "SELECT version()", format: "TabSeparatedRaw"})
	if err != nil {
		return nil, fmt.Errorf("ask the engine's version: %w", err)
	}
	return &handler{pool: p, handshake: handshakeBlock(strings.TrimSpace(string(output)))}, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	values := r.URL.Query()
	st, err := parseRequest(r, values)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	output := h.handshake
	if st.query != handshakeQuery {
		if output, err = h.pool.run(r.Context(), st); err != nil {
			writeException(w, err)
			return
		}
	}
	if values.Get("compress") == "1" {
		if output, err = compressFrames(output, values.Get("network_compression_method")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("X-ClickHouse-Server-Display-Name", "gateway")
	w.Header().Set("X-ClickHouse-Query-Id", values.Get("query_id"))
	w.Header().Set("X-ClickHouse-Format", st.format)
	w.Header().Set("Content-Length", strconv.Itoa(len(output)))
	_, _ = w.Write(output) // the client may be gone; nobody else is to be told
}

// parseRequest reads the whole request before anything runs, so a body that breaks off leaves no trace in a table.
func parseRequest(r *http.Request, values url.Values) (statement, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
		return statement{}, fmt.Errorf("the gateway does not decode Content-Encoding %q", encoding)
	}
	var reader io.Reader = http.MaxBytesReader(nil, r.Body, maxBodyBytes)
	if values.Get("decompress") == "1" {
		reader = compress.NewReader(reader)
	}
	body, err := io.ReadAll(reader)
	// The frame reader wraps the end; a body cut off by its connection ends with io.ErrUnexpectedEOF instead.
	if err != nil && !errors.Is(err, io.EOF) {
		return statement{}, fmt.Errorf("read the request's body: %w", err)
	}

	st := statement{
		format:   values.Get("default_format"),
		database: values.Get("database"),
		settings: map[string]string{},
		params:   map[string]string{},
	}
	if st.format == "" {
		st.format = "TabSeparated"
	}
	for name := range values {
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			st.params[param] = values.Get(name)
		} else if !slices.Contains(notSettings, name) {
			st.settings[name] = values.Get(name)
		}
	}
	if match := insertWithFormat.FindStringSubmatch(values.Get("query")); match != nil {
		st.query, st.format, st.insert, st.data = match[1], match[2], true, body
		return st, nil
	}
	st.query = strings.TrimSpace(values.Get("query") + "\n" + string(body))
	if match := trailingFormat.FindStringSubmatch(st.query); match != nil && !insertWithFormat.MatchString(st.query) {
		st.query, st.format = match[1], match[2]
	}
	return st, nil
}

// writeException answers with the engine's error the way a server does: its code in a header, its text in the body.
func writeException(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if match := exceptionCode.FindStringSubmatch(err.Error()); match != nil {
		w.Header().Set("X-ClickHouse-Exception-Code", match[1])
		status = statusOf(match[1])
	}
	http.Error(w, err.Error(), status)
}

// statusOf maps the exception codes whose status clients are known to tell apart.
func statusOf(code string) int {
	switch code {
	case "60", "81": // unknown table, unknown database
		return http.StatusNotFound
	case "192", "193", "194", "516": // user, password, authentication
		return http.StatusForbidden
	case "6", "27", "36", "38", "41", "43", "46", "47", "53", "62", "69", "72", "115": // the statement or its data is wrong
		return http.StatusBadRequest
	default:
		return http.StatusInternalServerError
	}
}
