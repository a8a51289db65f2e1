// One text for each number, whatever its encoding (TW-VAL-008), in work that the payload pays for.
//
// A number is sign · n / d · 2^a · 5^b, where n and d share no factor and neither has a factor 2 or 5: integers,
// floats, decimal and rational fractions that are equal have the same five parts.

// How often `factor` divides n, and what remains; by squares, since n may have thousands of digits.
function strip(n, factor) {
  const powers = [factor];
  while (n % powers.at(-1) === 0n) powers.push(powers.at(-1) * powers.at(-1));
  let count = 0n;
  for (let i = powers.length - 1; i >= 0; i--) {
    if (n % powers[i] === 0n) {
      n /= powers[i];
      count += 1n << BigInt(i);
    }
  }
  return [n, count];
}

export function gcd(a, b) {
  a = a < 0n ? -a : a;
  b = b < 0n ? -b : b;
  while (b) [a, b] = [b, a % b];
  return a;
}

function key(n, d, twos, fives) {
  if (n === 0n) return "#0";
  const sign = n < 0n ? "-" : "";
  let up, down, count;
  [up, count] = strip(n < 0n ? -n : n, 2n);
  twos += count;
  [up, count] = strip(up, 5n);
  fives += count;
  [down, count] = strip(d, 2n);
  twos -= count;
  [down, count] = strip(down, 5n);
  fives -= count;
  const common = gcd(up, down);
  return `#${sign}${(up / common).toString(16)}/${(down / common).toString(16)}/${twos}/${fives}`;
}

export function integerKey(v) {
  return key(v, 1n, 0n, 0n);
}

export function rationalKey(numerator, denominator) {
  return key(numerator, denominator, 0n, 0n);
}

export function decimalKey(exponent, mantissa) {
  return key(mantissa, 1n, exponent, exponent);
}

// A NaN is equal to nothing, not to itself either (TW-VAL-016).
let nans = 0;
export function nanKey() {
  return "#nan" + nans++;
}

// false and true are the keys 0 and 1 (TW-VAL-016).
export function simpleKey(v) {
  return v === 22 ? "null" : integerKey(BigInt(v - 20));
}

export function floatKey(v) {
  if (Number.isNaN(v)) return nanKey();
  if (v === Infinity) return "#inf";
  if (v === -Infinity) return "#-inf";
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, v);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 2047n;
  const fraction = bits & ((1n << 52n) - 1n);
  const n = exponent === 0n ? fraction : fraction | (1n << 52n);
  return key(bits >> 63n ? -n : n, 1n, (exponent === 0n ? 1n : exponent) - 1075n, 0n);
}
