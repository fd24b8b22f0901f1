package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"forebay/router/auth"
)

// render writes the change from before to after into the file's text. What it
// returns is certain to read as after.
func render(text []byte, before, after []auth.Key) ([]byte, error) {
	var edited []byte
	var err error
	if isJSON(text) {
		edited, err = renderJSON(after)
	} else {
		edited, err = renderYAML(text, before, after)
	}
	if err != nil {
		return nil, err
	}
	if got, err := Parse(edited); err != nil || !slices.EqualFunc(got, after, sameKey) {
		return nil, errors.New("it is laid out in a way that cannot be edited: write it as a list with a line for each field, or edit it by hand")
	}
	return edited, nil
}

func renderJSON(keys []auth.Key) ([]byte, error) {
	entries := make([]entry, len(keys))
	for i, key := range keys {
		entries[i] = entryOf(key)
	}
	text, err := json.MarshalIndent(entries, "", "  ")
	return append(text, '\n'), err
}

// renderYAML edits the syntax tree, so that comments stay.
func renderYAML(text []byte, before, after []auth.Key) ([]byte, error) {
	added, err := marshalYAML(after[len(before):])
	if err != nil {
		return nil, err
	}
	if len(before) == 0 {
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			added = append([]byte("\n"), added...)
		}
		return append(slices.Clip(text), added...), nil
	}
	tree, err := parser.ParseBytes(text, parser.ParseComments)
	if err != nil {
		return nil, describe(err)
	}
	for i := range before {
		old, changed := entryOf(before[i]), entryOf(after[i])
		err := errors.Join(
			setField(tree, i, "expires_at", old.ExpiresAt, changed.ExpiresAt),
			setField(tree, i, "revoked_at", old.RevokedAt, changed.RevokedAt))
		if err != nil {
			return nil, err
		}
	}
	if len(added) > 0 {
		root, err := yaml.PathString("$")
		if err != nil {
			return nil, err
		}
		if err := root.MergeFromReader(tree, bytes.NewReader(added)); err != nil {
			return nil, err
		}
	}
	return []byte(strings.TrimRight(tree.String(), "\n") + "\n"), nil
}

// setField writes a field of the entry at index, if it changed.
func setField(tree *ast.File, index int, name, old, changed string) error {
	if old == changed {
		return nil
	}
	path, value := fmt.Sprintf("$[%d].%s", index, name), changed
	edit := (*yaml.Path).ReplaceWithReader
	if old == "" {
		path, value = fmt.Sprintf("$[%d]", index), name+": "+changed
		edit = (*yaml.Path).MergeFromReader
	}
	at, err := yaml.PathString(path)
	if err != nil {
		return err
	}
	return edit(at, tree, strings.NewReader(value))
}

func marshalYAML(keys []auth.Key) ([]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	entries := make([]entry, len(keys))
	for i, key := range keys {
		entries[i] = entryOf(key)
	}
	return yaml.MarshalWithOptions(entries, yaml.IndentSequence(true), yaml.AutoInt())
}

func sameKey(a, b auth.Key) bool {
	return a.Digest == b.Digest && a.Project == b.Project && a.RequestsPerSecond == b.RequestsPerSecond &&
		a.Burst == b.Burst && a.Strict == b.Strict && slices.Equal(a.Origins, b.Origins) &&
		formatTime(a.ExpiresAt) == formatTime(b.ExpiresAt) && formatTime(a.RevokedAt) == formatTime(b.RevokedAt)
}
