package file

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxYAMLBytes bounds what the library is given: it takes a second and sixty
// times the memory for a few megabytes.
const maxYAMLBytes = 8 << 20

// maxNesting is a list of entries with a list of origins, all in brackets.
const maxNesting = 3

// decodeYAML reads the entries from the syntax tree. The library's own way into a
// struct rounds numbers that do not fit, makes a wrong time none, and panics on
// some malformed texts.
func decodeYAML(text []byte) ([]found, error) {
	if len(text) > maxYAMLBytes {
		return nil, fmt.Errorf("%d bytes of YAML are more than the %d that are read; write so many keys as JSON", len(text), maxYAMLBytes)
	}
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
	entries := make([]found, len(list.Values))
	for i, node := range list.Values {
		entries[i].entry, entries[i].err = decodeYAMLEntry(node)
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

func decodeYAMLEntry(node ast.Node) (entry, error) {
	var e entry
	fields, ok := node.(*ast.MappingNode)
	if !ok {
		return e, fmt.Errorf("line %d: this entry has no fields; %s", lineOf(node), wantedForm)
	}
	for _, field := range fields.Values { // the parser has refused names that are there twice
		name, _ := scalar(field.Key)
		if err := e.set(name, yamlValue(field.Value)); err != nil {
			return e, fmt.Errorf("line %d: %w", lineOf(field), err)
		}
	}
	return e, nil
}

// yamlValue takes a field's value out of the tree.
func yamlValue(node ast.Node) value {
	if text, ok := scalar(node); ok {
		return value{kind: single, text: text}
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		return value{}
	}
	v := value{kind: list, texts: make([]string, len(sequence.Values))}
	for i, element := range sequence.Values {
		if v.texts[i], ok = scalar(element); !ok {
			return value{}
		}
	}
	return v
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
