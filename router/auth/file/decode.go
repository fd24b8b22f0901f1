package file

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

const wantedForm = "a key file is a list of {project, key_sha256, …}"

// found is an entry as it was found in a file.
type found struct {
	entry
	err error // why it cannot be read, with its line; nil: it can
}

// decode finds the entries of a file in either form. An entry that cannot be read
// leaves the others; the error is about the file as a whole.
func decode(text []byte) ([]found, error) {
	if isJSON(text) {
		return decodeJSON(text)
	}
	return decodeYAML(text)
}

// value is what a field holds, as it is written.
type value struct {
	kind  kind
	text  string   // of a single one, without quotes; empty for null
	texts []string // of a list
}

type kind int

const (
	other kind = iota // an object, or a list of more than texts
	single
	list
)

// set writes a field. An empty value is the same as none.
func (e *entry) set(name string, v value) error {
	switch name {
	case "origins":
		if v.kind != list && (v.kind != single || v.text != "") {
			return errors.New("origins must be a list of texts")
		}
		e.Origins = v.texts
		return nil
	case "project", "key_sha256", "expires_at", "revoked_at", "requests_per_second", "burst", "strict":
		if v.kind != single {
			return fmt.Errorf("%s must be a single value", name)
		}
		return e.setSingle(name, v.text)
	}
	return fmt.Errorf("unknown field %q; want one of %s", name, strings.Join(fieldNames(), ", "))
}

func (e *entry) setSingle(name, text string) (err error) {
	wanted := ""
	switch name {
	case "project":
		e.Project = text
	case "key_sha256":
		e.KeySHA256 = text
	case "expires_at":
		e.ExpiresAt = text
	case "revoked_at":
		e.RevokedAt = text
	case "requests_per_second":
		wanted = "a number"
		e.RequestsPerSecond, err = strconv.ParseFloat(cmp.Or(text, "0"), 64)
	case "burst":
		wanted = "a whole number"
		e.Burst, err = strconv.Atoi(cmp.Or(text, "0"))
	case "strict":
		wanted = "true or false"
		e.Strict, err = strconv.ParseBool(cmp.Or(text, "false"))
	}
	if err != nil {
		return fmt.Errorf("%s is %q, must be %s", name, text, wanted)
	}
	return nil
}

// fieldNames are the names that an entry may have.
func fieldNames() []string {
	var names []string
	for field := range reflect.TypeFor[entry]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
