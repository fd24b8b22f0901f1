package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads what time.ParseDuration takes, and days of 24 hours before it: 2d, 1.5d, 1d12h. It is for every
// duration that a person types.
func ParseDuration(text string) (time.Duration, error) {
	days, rest, has := strings.Cut(text, "d")
	if !has {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || strings.ContainsAny(days, "eExXpPiInN_") { // of the forms of a float only digits and a point
		return 0, errors.New("not a duration")
	}
	d := n * 24 * float64(time.Hour)
	if math.Abs(d) >= math.MaxInt64 {
		return 0, errors.New("too long")
	}
	total := time.Duration(d)
	if rest == "" {
		return total, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, errors.New("not a duration")
	}
	if total < 0 || strings.HasPrefix(days, "-") {
		more = -more
	}
	if sum := total + more; (sum > total) == (more > 0) || more == 0 {
		return sum, nil
	}
	return 0, errors.New("too long")
}
