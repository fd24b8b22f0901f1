package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"forebay/router/auth"
)

// render writes the change from what the file's text has to after into it. What it
// returns is certain to read as after. Entries that are no valid keys stay.
func render(text []byte, before listing, after []auth.Key) ([]byte, error) {
	var edited []byte
	var err error
	if isJSON(text) {
		if len(before.bad) > 0 {
			return nil, before.bad[0] // it is written anew, which would drop the entry
		}
		edited, err = renderJSON(after)
	} else {
		edited, err = renderYAML(text, before, after)
	}
	if err != nil {
		return nil, err
	}
	if len(edited) > MaxFileBytes || !isJSON(edited) && len(edited) > maxYAMLBytes {
		return nil, errors.New("it would be larger than is read: keep so many keys in PostgreSQL")
	}
	if got, err := read(edited); err != nil || len(got.bad) != len(before.bad) || !slices.EqualFunc(got.keys, after, sameKey) {
		return nil, errors.New("it is laid out in a way that cannot be edited: write it as a list with a line for each field, or edit it by hand")
	}
	return edited, nil
}

func renderJSON(keys []auth.Key) ([]byte, error) {
	entries := make([]entry, len(keys))
	for i, key := range keys {
		entries[i] = entryOf(key)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(entries)
	return out.Bytes(), err
}

// renderYAML edits the syntax tree, so that comments stay.
func renderYAML(text []byte, before listing, after []auth.Key) ([]byte, error) {
	added, err := marshalYAML(after[len(before.keys):])
	if err != nil {
		return nil, err
	}
	if len(before.keys)+len(before.bad) == 0 {
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			added = append([]byte("\n"), added...)
		}
		return append(slices.Clip(text), added...), nil
	}
	tree, err := parser.ParseBytes(text, parser.ParseComments)
	if err != nil {
		return nil, describe(err)
	}
	for i, place := range before.places {
		old, changed := entryOf(before.keys[i]), entryOf(after[i])
		err := errors.Join(
			setField(tree, place, "expires_at", old.ExpiresAt, changed.ExpiresAt),
			setField(tree, place, "revoked_at", old.RevokedAt, changed.RevokedAt))
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

// marshalYAML writes texts in quotes always: the library leaves them out where
// they are needed.
func marshalYAML(keys []auth.Key) ([]byte, error) {
	var out bytes.Buffer
	for _, key := range keys {
		e := entryOf(key)
		project, err := quote(e.Project)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "- project: %s\n  key_sha256: %q\n", project, e.KeySHA256)
		if e.RequestsPerSecond != 0 {
			fmt.Fprintf(&out, "  requests_per_second: %s\n", strconv.FormatFloat(e.RequestsPerSecond, 'f', -1, 64))
		}
		if e.Burst != 0 {
			fmt.Fprintf(&out, "  burst: %d\n", e.Burst)
		}
		if e.Strict {
			out.WriteString("  strict: true\n")
		}
		if len(e.Origins) > 0 {
			origins, err := quote(e.Origins)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&out, "  origins: %s\n", origins)
		}
		if e.ExpiresAt != "" {
			fmt.Fprintf(&out, "  expires_at: %s\n", e.ExpiresAt)
		}
		if e.RevokedAt != "" {
			fmt.Fprintf(&out, "  revoked_at: %s\n", e.RevokedAt)
		}
	}
	return out.Bytes(), nil
}

// quote writes a text or a list of texts so that both YAML and JSON read it.
func quote(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func sameKey(a, b auth.Key) bool {
	return a.Digest == b.Digest && a.Project == b.Project && a.RequestsPerSecond == b.RequestsPerSecond &&
		a.Burst == b.Burst && a.Strict == b.Strict && slices.Equal(a.Origins, b.Origins) &&
		formatTime(a.ExpiresAt) == formatTime(b.ExpiresAt) && formatTime(a.RevokedAt) == formatTime(b.RevokedAt)
}
