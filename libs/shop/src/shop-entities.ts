import { CountrySales } from './orders/read/country-sales.js';
import { CustomerSpending } from './orders/read/customer-spending.js';
import { OrderView } from './orders/read/order-view.js';
import { OrderLine } from './orders/write/order-line.js';
import { Order } from './orders/write/order.js';
import { ReturnLine } from './orders/write/return-line.js';
import { Return } from './orders/write/return.js';
import { EmailDirectory } from './users/read/email-directory.js';
import { UserView } from './users/read/user-view.js';
import { User } from './users/write/user.js';

/** For the data source's `entities`. */
export const shopEntities = [User, Order, OrderLine, Return, ReturnLine, UserView, EmailDirectory, OrderView, CustomerSpending, CountrySales];
