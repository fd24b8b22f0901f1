package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// file applies a YAML or JSON document. The syntax tree is walked against the table of fields, rather
// than decoded into a struct, so that every finding has its line and all are found in one go.
func (l *loader) file(name string, data []byte) {
	if deep(data) {
		l.errs.add(name, "", "", "more than %d brackets are open at once; is it the right file?", maxBrackets)
		return
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		source, problem := name, err.Error()
		if at := yaml.Error(nil); errors.As(err, &at) {
			problem = at.GetMessage()
			if token := at.GetToken(); token != nil && token.Position != nil {
				source = fmt.Sprintf("%s:%d", name, token.Position.Line)
			}
		}
		l.errs.add(source, "", "", "not valid YAML or JSON: %s", problem)
		return
	}
	documents := 0
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			l.errs.add(line(name, doc.Body), "", "", "a second document; keep one and remove the line --- before it")
			return
		}
		l.group(name, "", doc.Body)
	}
}

// maxBrackets bounds the nesting that is given to the parser, whose time grows with the square of it.
const maxBrackets = 50

// deep reports whether more brackets are opened than closed somewhere, by that many; those in texts count
// too, as telling them apart is the parser's work.
func deep(data []byte) bool {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if depth > maxBrackets {
			return true
		}
	}
	return false
}

// line is where a node stands.
func line(name string, node ast.Node) string {
	if token := node.GetToken(); token != nil && token.Position != nil {
		return fmt.Sprintf("%s:%d", name, token.Position.Line)
	}
	return name
}

// group applies the mapping at path, which is empty for the whole document.
func (l *loader) group(name, path string, node ast.Node) {
	if node.Type() == ast.NullType {
		return // "wal:" with nothing below it
	}
	mapping, ok := node.(ast.MapNode)
	if !ok {
		l.errs.add(line(name, node), path, scalarText(node), "expected a group of settings, written as name: value%s", found(node))
		return
	}
	for entries := mapping.MapRange(); entries.Next(); {
		l.entry(name, path, entries.KeyValue())
	}
}

func (l *loader) entry(name, group string, entry *ast.MappingValueNode) {
	key := strings.Trim(entry.Key.String(), `"'`)
	if scalar, ok := entry.Key.(ast.ScalarNode); ok {
		key = fmt.Sprint(scalar.GetValue())
	}
	path := key
	if group != "" {
		path = group + "." + key
	}
	f, known := l.byPath[path]
	switch {
	case strings.Contains(key, "."): // so that "wal.fsync: always" is not taken for the field of that path
		l.errs.add(line(name, entry.Key), path, "", "a setting's name has no dot; write each group on a line of its own")
	case l.groups[path]:
		l.group(name, path, entry.Value)
	case known:
		l.value(line(name, entry.Key), f, entry.Value)
	default:
		l.errs.add(line(name, entry.Key), path, "", "unknown field; did you mean %s?", l.nearest(path))
	}
}

// value applies a field's value. Null, which is also what "name:" alone means, leaves the default.
func (l *loader) value(source string, f *field, node ast.Node) {
	if node.Type() == ast.NullType {
		return
	}
	list, isList := f.target.(*[]string)
	sequence, isSequence := node.(*ast.SequenceNode)
	if isList && isSequence {
		l.sources[f.path] = source
		*list = nil
		for _, item := range sequence.Values {
			text, ok := scalar(item)
			if !ok || text == "" {
				l.errs.add(source, f.path, scalarText(item), "expected a list of texts such as [a, b]%s", found(item))
				return
			}
			*list = append(*list, text)
		}
		return
	}
	text, ok := scalar(node)
	switch {
	case isList:
		l.errs.add(source, f.path, f.shown(scalarText(node)), "expected a list of texts such as [a, b]%s", found(node))
	case !ok:
		l.errs.add(source, f.path, "", "expected %s%s", kindOf(f.target), found(node))
	default:
		l.set(source, f, text)
	}
}

// found says what stands where something else was expected, if it has no text to show.
func found(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return ", found a group"
	case ast.SequenceType:
		return ", found a list"
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		return "; anchors, aliases and tags of YAML are not used here, write the value itself"
	}
	return ""
}

// scalar is the text of a single value as it was written, without quotes. Anchors, aliases and tags are
// not part of a configuration.
func scalar(node ast.Node) (text string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// scalarText is the value as an error shows it, empty when it is not a single one.
func scalarText(node ast.Node) string {
	text, _ := scalar(node)
	return text
}
