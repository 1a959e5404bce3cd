-- The few products of a narrow range of prices, for lists of popular products and for searches by words.
create index products_price on products (price);
