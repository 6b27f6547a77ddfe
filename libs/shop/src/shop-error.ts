/** The shop's own errors: a stable code to handle it by, and what to do next. Which HTTP status they get is the application's affair. */
export const SHOP_ERROR_CATALOGUE = {
  SHOP_INVALID: 'Correct the field and send it again.',
  SHOP_CURSOR_INVALID: 'Send `nextCursor` exactly as the page before returned it, or none.',
  SHOP_USER_NOT_FOUND: 'Check the id; a user that was just created may need the Consistency-Token of its write.',
  SHOP_ORDER_NOT_FOUND: 'Check the id; an order that was just placed may need the Consistency-Token of its write.',
  SHOP_CUSTOMER_NOT_FOUND: 'Check the id; customers appear with their first order or return.',
  SHOP_USER_EXISTS: 'Choose another id, or leave it out and one is made.',
  SHOP_EMAIL_TAKEN: 'Choose another e-mail address.',
  SHOP_USER_DEACTIVATED: 'A deactivated user cannot be changed.',
  SHOP_ORDER_CONFLICT: 'Choose another order id, or send the first content again.',
  SHOP_RETURN_CONFLICT: 'Choose another return id, or send the first content again.',
  SHOP_OUTBOX_UNUSABLE: 'Make it a folder that the application may write to, or set DATA_DIR to another place.',
  SHOP_FILE_INVALID: 'Give a CSV file whose first line is InvoiceNo,InvoiceDate,CustomerID,Country,Quantity,UnitPrice.',
} as const;

export type ShopErrorCode = keyof typeof SHOP_ERROR_CATALOGUE;

export const SHOP_ERROR_CODES = Object.keys(SHOP_ERROR_CATALOGUE) as readonly ShopErrorCode[];

/** Root of the shop's errors. `message` reads "what happened. What to do next." */
export class ShopError extends Error {
  readonly data: Readonly<Record<string, unknown>>;

  constructor(
    readonly code: ShopErrorCode,
    what: string,
    /** Facts for programs: ids and field names. No personal data. */
    data: Readonly<Record<string, unknown>> = {},
  ) {
    super(`${what.replace(/[.\s]+$/, '')}. ${SHOP_ERROR_CATALOGUE[code]}`);
    this.name = new.target.name;
    this.data = Object.freeze({ ...data });
  }
}

/** A value that breaks a rule of the domain, whichever way it came in. */
export class InvalidValueError extends ShopError {
  constructor(
    readonly field: string,
    /** Reads after the field's name: "must be …". */
    readonly rule: string,
  ) {
    super('SHOP_INVALID', `${field} ${rule}`, { field, rule });
  }
}

export function isShopError(error: unknown, code?: ShopErrorCode): error is ShopError {
  return error instanceof ShopError && (code === undefined || error.code === code);
}
