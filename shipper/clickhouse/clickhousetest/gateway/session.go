package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// appendBytes is how much of an INSERT's data goes to the engine at a time.
const appendBytes = 1 << 20

// statement is one request to the engine.
type statement struct {
	query    string
	format   string // of the output, or of the data for an INSERT that brings data
	insert   bool   // an INSERT whose rows are in data
	data     []byte
	database string            // "" for the default one
	settings map[string]string // hold for this statement alone
	params   map[string]string // values of {name:Type} in the query
}

// session is one connection to the engine. It runs one statement at a time, so whoever takes it from the pool owns it.
type session struct {
	lib  *library
	conn uintptr
}

// pool hands out sessions; it bounds how many statements run at the same time.
type pool struct {
	idle chan *session
}

// newPool boots the engine on the directory and opens the sessions.
func newPool(lib *library, dataPath string, sessions int) (*pool, error) {
	p := &pool{idle: make(chan *session, sessions)}
	for range sessions {
		conn, err := lib.open(dataPath)
		if err != nil {
			return nil, err
		}
		p.idle <- &session{lib: lib, conn: conn}
	}
	return p, nil
}

// run executes the statement on a free session, waiting for one until ctx ends. Once started it is not cancelled.
func (p *pool) run(ctx context.Context, st statement) ([]byte, error) {
	var s *session
	select {
	case s = <-p.idle:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.idle <- s }()
	return s.run(st)
}

// run surrounds the statement with what belongs to it alone: its database and its settings. A setting that the engine
// refuses fails the statement.
func (s *session) run(st statement) (output []byte, err error) {
	if st.database != "" && st.database != "default" {
		if err := s.exec("USE " + quoteName(st.database)); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.exec("USE default")) }()
	}
	for _, name := range slices.Sorted(maps.Keys(st.settings)) {
		if err := s.exec(fmt.Sprintf("SET %s = %s", quoteName(name), quoteText(st.settings[name]))); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.exec(fmt.Sprintf("SET %s = DEFAULT", quoteName(name)))) }()
	}
	if st.insert {
		return nil, s.insert(st)
	}
	return s.lib.query(s.conn, st.query, st.format, st.params)
}

func (s *session) exec(query string) error {
	_, err := s.lib.query(s.conn, query, "TabSeparated", nil)
	return err
}

// insert hands the data to the engine and commits it.
func (s *session) insert(st statement) error {
	query, queryLen := pointer([]byte(st.query))
	format, formatLen := pointer([]byte(st.format))
	stream := s.lib.insertBegin(s.conn, query, queryLen, format, formatLen)
	if stream == 0 {
		return errors.New("the engine gave no insert stream")
	}
	defer s.lib.insertDestroy(stream)
	if message := s.lib.insertError(stream); message != "" {
		return errors.New(message)
	}

	for chunk := range slices.Chunk(st.data, appendBytes) {
		data, length := pointer(chunk)
		if s.lib.insertAppend(stream, data, length) != 0 {
			break // the stream has failed, and insertDone says why
		}
	}
	_, err := s.lib.take(s.lib.insertDone(stream))
	return err
}

func quoteName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
