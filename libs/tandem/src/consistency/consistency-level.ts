/** How much a read must see. `Strong`: everything committed when it began. `ReadYourWrites`: at least what a token names. `Eventual`: what is there. */
export const ConsistencyLevel = { Strong: 'strong', ReadYourWrites: 'read-your-writes', Eventual: 'eventual' } as const;
export type ConsistencyLevel = (typeof ConsistencyLevel)[keyof typeof ConsistencyLevel];
