/** Money as whole ten-thousandths: exact, and nothing of the shop's. */
export function tenThousandths(price: string): bigint {
  const [whole, fraction = ''] = price.split('.');
  return BigInt(whole! + fraction.padEnd(4, '0'));
}

export function fourPlaces(amount: bigint): string {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(5, '0');
  return `${amount < 0n ? '-' : ''}${digits.slice(0, -4)}.${digits.slice(-4)}`;
}
