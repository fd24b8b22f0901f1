package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// isJSON tells a file that has to stay JSON from one that has to stay YAML.
func isJSON(text []byte) bool { return json.Valid(text) }

// decodeJSON reads the entries of a text that is valid JSON. It goes field by
// field, since decoding into a struct takes names in any case, and twice.
func decodeJSON(text []byte) ([]found, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	start, err := decoder.Token()
	if err != nil || start == nil {
		return nil, err // null is an empty file
	}
	if start != json.Delim('[') {
		return nil, fmt.Errorf("line %d: this is no list; %s", lineAt(text, decoder), wantedForm)
	}
	var entries []found
	for decoder.More() {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, err
		}
		begin := int(decoder.InputOffset()) - len(raw)
		one := json.NewDecoder(bytes.NewReader(raw))
		one.UseNumber()
		e, err := decodeJSONEntry(one)
		if err != nil {
			line := 1 + bytes.Count(text[:begin+int(one.InputOffset())], []byte("\n"))
			err = fmt.Errorf("line %d: %w", line, err)
		}
		entries = append(entries, found{e, err})
	}
	return entries, nil
}

func decodeJSONEntry(decoder *json.Decoder) (entry, error) {
	var e entry
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return e, errors.Join(err, fmt.Errorf("this entry has no fields; %s", wantedForm))
	}
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return e, err
		}
		name, _ := token.(string) // valid JSON has nothing else here
		if seen[name] {
			return e, fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		var content any
		if err := decoder.Decode(&content); err != nil {
			return e, err
		}
		if err := e.set(name, jsonValue(content)); err != nil {
			return e, err
		}
	}
	_, err := decoder.Token() // the closing brace
	return e, err
}

func jsonValue(content any) value {
	elements, ok := content.([]any)
	if !ok {
		return singleJSON(content)
	}
	v := value{kind: list, texts: make([]string, len(elements))}
	for i, element := range elements {
		one := singleJSON(element)
		if one.kind != single {
			return value{}
		}
		v.texts[i] = one.text
	}
	return v
}

func singleJSON(content any) value {
	switch content := content.(type) {
	case nil:
		return value{kind: single}
	case string:
		return value{kind: single, text: content}
	case json.Number, bool:
		return value{kind: single, text: fmt.Sprint(content)}
	}
	return value{}
}

// lineAt is the line that the decoder has come to.
func lineAt(text []byte, decoder *json.Decoder) int {
	return 1 + bytes.Count(text[:decoder.InputOffset()], []byte("\n"))
}
