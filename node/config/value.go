package config

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes. It is written as a plain number or with one of the units KiB, MiB, GiB,
// TiB (powers of 1024) and KB, MB, GB, TB (powers of 1000).
type Bytes int64

type unit struct {
	name string
	size int64
}

// units are in the order in which String tries them.
func units() []unit {
	return []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}}
}

// String writes the size in the largest binary unit that holds it exactly.
func (b Bytes) String() string {
	for _, u := range units()[:4] {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

func parseBytes(text string) (Bytes, bool) {
	number, size := text, int64(1)
	for _, u := range units() {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return 0, false
	}
	return Bytes(n * size), true
}

// formatDuration drops the zero minutes and seconds that time.Duration prints.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parseValue stores text, as written in the file, the environment or a flag, in target. The result is
// empty, or says what was expected. A list is separated by commas.
func parseValue(target any, text string) (problem string) {
	var ok bool
	switch v := target.(type) {
	case *string:
		*v, ok = text, true
	case *[]string:
		*v, ok = splitList(text), true
	case *bool:
		*v, ok = text == "true", text == "true" || text == "false"
	case *int:
		n, err := strconv.Atoi(text)
		*v, ok = n, err == nil
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		*v, ok = n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
	case *Bytes:
		*v, ok = parseBytes(text)
	case *time.Duration:
		d, err := ParseDuration(text)
		*v, ok = d, err == nil
	default:
		panic(fmt.Sprintf("BUG: no parser for a setting of type %T", target))
	}
	if !ok {
		return "expected " + kindOf(target)
	}
	return ""
}

func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// kindOf says what a value for target looks like.
func kindOf(target any) string {
	switch target.(type) {
	case *string:
		return "a text"
	case *[]string:
		return "a list"
	case *bool:
		return "true or false"
	case *int:
		return "a whole number"
	case *float64:
		return "a number"
	case *Bytes:
		return "a size such as 500KiB, 8MiB or a plain number of bytes"
	case *time.Duration:
		return "a duration such as 50ms, 90s, 10m, 168h or 7d"
	default:
		panic(fmt.Sprintf("BUG: no name for a setting of type %T", target))
	}
}

// formatValue writes what target holds as it would stand in the file.
func formatValue(target any) string {
	switch v := target.(type) {
	case *string:
		return quote(*v)
	case *[]string:
		items := make([]string, len(*v))
		for i, item := range *v {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *time.Duration:
		return formatDuration(*v)
	case *float64:
		return strconv.FormatFloat(*v, 'f', -1, 64)
	case *bool, *int, *Bytes:
		return fmt.Sprint(deref(v))
	default:
		panic(fmt.Sprintf("BUG: no format for a setting of type %T", target))
	}
}

func deref(target any) any {
	switch v := target.(type) {
	case *bool:
		return *v
	case *int:
		return *v
	case *Bytes:
		return *v
	}
	return target
}

// plainText matches what YAML reads as a string without quotes, whatever its version.
var plainText = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./-]*$`)

// quote writes a string so that YAML reads it back; a JSON string is one.
func quote(text string) string {
	switch strings.ToLower(text) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(text) {
			return text
		}
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return strconv.Quote(text)
	}
	return string(quoted)
}
