package file

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNesting is a list of entries with a list of origins, all in brackets.
const maxNesting = 3

// decode reads the entries from the syntax tree. The library's own way into a
// struct rounds numbers that do not fit, makes a wrong time none, and panics on
// some malformed texts.
func decode(text []byte) ([]entry, error) {
	tokens := lexer.Tokenize(string(text))
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, describe(err)
	}
	list, err := onlyList(tree)
	if err != nil || list == nil {
		return nil, err
	}
	entries := make([]entry, len(list.Values))
	for i, node := range list.Values {
		if entries[i], err = decodeEntry(node); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// checkTokens refuses what a list of entries does not need, above all depth: the
// parser takes time and memory in the square of it.
func checkTokens(tokens token.Tokens) error {
	var line, depth, dashes, colons int
	for _, t := range tokens {
		if t.Position.Line != line && depth == 0 {
			dashes, colons = 0, 0
		}
		line = t.Position.Line
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
			colons = 0
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.CollectEntryType:
			colons = 0
		case token.SequenceEntryType:
			dashes++
		case token.MappingValueType:
			colons++
		case token.AnchorType, token.AliasType, token.TagType, token.DirectiveType, token.MappingKeyType, token.MergeKeyType:
			return fmt.Errorf("line %d: %q has a special meaning in YAML that a key file does not need; put quotes around the text", line, t.Value)
		}
		if depth > maxNesting || dashes > maxNesting || colons > 1 {
			return fmt.Errorf("line %d: lists or fields within others; %s", line, wantedForm)
		}
	}
	return nil
}

const wantedForm = "a key file is a list of {project, key_sha256, …}"

// onlyList is the list that the file consists of, nil if it is empty.
func onlyList(tree *ast.File) (*ast.SequenceNode, error) {
	var list *ast.SequenceNode
	for _, document := range tree.Docs {
		switch body := document.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode:
		case *ast.SequenceNode:
			if list != nil {
				return nil, fmt.Errorf("line %d: a second YAML document; put all keys into one list", lineOf(body))
			}
			list = body
		default:
			return nil, fmt.Errorf("line %d: this is no list; %s", lineOf(body), wantedForm)
		}
	}
	return list, nil
}

func decodeEntry(node ast.Node) (entry, error) {
	var e entry
	fields, ok := node.(*ast.MappingNode)
	if !ok {
		return e, fmt.Errorf("line %d: this entry has no fields; %s", lineOf(node), wantedForm)
	}
	seen := make(map[string]bool)
	for _, field := range fields.Values {
		name, _ := scalar(field.Key)
		if seen[name] {
			return e, fmt.Errorf("line %d: %s is there twice", lineOf(field), name)
		}
		seen[name] = true
		if err := e.set(name, field.Value); err != nil {
			return e, fmt.Errorf("line %d: %w", lineOf(field), err)
		}
	}
	return e, nil
}

// set writes a field. An empty value is the same as none.
func (e *entry) set(name string, value ast.Node) error {
	if name == "origins" {
		origins, err := scalars(value)
		e.Origins = origins
		return err
	}
	text, ok := scalar(value)
	if !ok && slices.Contains(fieldNames(), name) {
		return fmt.Errorf("%s must be a single value", name)
	}
	var err error
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
		if text != "" {
			e.RequestsPerSecond, err = strconv.ParseFloat(text, 64)
		}
	case "burst":
		if text != "" {
			e.Burst, err = strconv.Atoi(text)
		}
	case "strict":
		if text != "" {
			e.Strict, err = strconv.ParseBool(text)
		}
	default:
		return fmt.Errorf("unknown field %q; did you mean %q?", name, nearestField(name))
	}
	if err != nil {
		kind := map[string]string{"requests_per_second": "a number", "burst": "a whole number", "strict": "true or false"}[name]
		return fmt.Errorf("%s is %q, must be %s", name, text, kind)
	}
	return nil
}

// scalars reads a list of texts.
func scalars(node ast.Node) ([]string, error) {
	if _, null := node.(*ast.NullNode); null {
		return nil, nil
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return nil, errors.New("origins must be a list")
	}
	texts := make([]string, len(list.Values))
	for i, value := range list.Values {
		if texts[i], ok = scalar(value); !ok {
			return nil, errors.New("origins must be a list of texts")
		}
	}
	return texts, nil
}

// scalar is a value as it is written, without its quotes. Ok is false for lists
// and mappings.
func scalar(node ast.Node) (text string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		return "", true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func lineOf(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// describe makes one line of the library's errors, which quote the file.
func describe(err error) error {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return fmt.Errorf("read the list of keys: %w", err)
	}
	line := 0
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return fmt.Errorf("line %d: %s", line, syntax.GetMessage())
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

// nearestField is the known name that takes the fewest edits to reach.
func nearestField(name string) string {
	return slices.MinFunc(fieldNames(), func(a, b string) int {
		return editDistance(name, a) - editDistance(name, b)
	})
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
